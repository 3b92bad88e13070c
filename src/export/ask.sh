#!/bin/sh
# Asks again WHAT, of the same addresses, and compares statuses and digests.
# MODTAPE_CURL holds more arguments for curl, such as --cacert FILE.
answer=$(mktemp) || exit 3
trap 'rm -f "$answer"' EXIT
differ=0
if command -v sha256sum >/dev/null; then sum=sha256sum; else sum='shasum -a 256'; fi
ask() {
    id=$1 status=$2 sha256=$3
    shift 3
    : >"$answer"
    found=$(curl -sS $MODTAPE_CURL -o "$answer" -w '%{http_code}' "$@") || found=failed
    digest=$($sum <"$answer" | cut -d' ' -f1)
    if [ "$found" != "$status" ]; then
        differ=1 && echo "#$id $found, was $status"
    elif [ "$sha256" != - ] && [ "$digest" != "$sha256" ]; then
        differ=1 && echo "#$id $found, but the body is another: $digest, was $sha256"
    else
        echo "#$id $found as before"
    fi
}
