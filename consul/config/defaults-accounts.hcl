Kind     = "service-defaults"
Name     = "cbs-accounts"
Protocol = "http"
