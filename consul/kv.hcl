# A canary that gets nothing cannot be judged, and where only canaries are left nobody would be asked.
# What a key is when nobody has set it yet; a value that is there is left alone.
Defaults = {
  "cbs/routes/${service}/canary-percent" = "10"
}
