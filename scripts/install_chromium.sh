#!/bin/sh
# Makes sure that there is a Chromium for the browser tests; CHROMIUM names another one.
set -eu
for browser in "${CHROMIUM:-}" chromium chromium-browser google-chrome /usr/bin/chromium; do
    [ -n "$browser" ] && command -v "$browser" >/dev/null 2>&1 && exit 0
done
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >/dev/null
    exit 0
fi
echo "The browser tests need Chromium. Debian, Ubuntu: sudo apt-get install chromium; or set CHROMIUM=/path/to/chrome." >&2
exit 1
