#!/usr/bin/env bash
# Installs Debian's headless Chromium for the live page's tests, or says what to install. Never fails.
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    apt-get update -qq &&
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium-headless-shell >/dev/null &&
        exit 0
fi
echo "make: no Chromium; the live page's browser tests are skipped (apt-get install chromium-headless-shell)" >&2
exit 0
