Kind     = "service-defaults"
Name     = "cbs-customers"
Protocol = "http"
