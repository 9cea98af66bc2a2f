Kind     = "service-defaults"
Name     = "cbs-payments"
Protocol = "http"
