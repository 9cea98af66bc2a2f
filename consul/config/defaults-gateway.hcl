Kind     = "service-defaults"
Name     = "cbs-gateway"
Protocol = "http"
