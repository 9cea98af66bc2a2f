Kind     = "service-defaults"
Name     = "cbs-${service}"
Protocol = "http"
