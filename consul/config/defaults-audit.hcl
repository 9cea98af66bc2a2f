Kind     = "service-defaults"
Name     = "cbs-audit"
Protocol = "http"
