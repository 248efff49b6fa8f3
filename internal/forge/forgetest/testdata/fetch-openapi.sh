#!/bin/sh
# Fetches GitHub's OpenAPI descriptions of its REST API and of its webhooks and
# puts them into a directory, as api.github.com.json and webhooks.json. Needs
# npm. Tests look for the first where the environment variable CORBEL_OPENAPI
# says, and for the second beside it.
#
# Usage: fetch-openapi.sh DIR
set -eu

[ $# -eq 1 ] || { echo "usage: $0 DIR" >&2; exit 2; }
mkdir -p "$1"
dir=$(cd "$1" && pwd)
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
# fetch PACKAGE VERSION SHA256 NAME
fetch() {
	npm pack --silent "$1@$2" >/dev/null
	tar -xzf ./*.tgz package/generated/api.github.com.json
	echo "$3  package/generated/api.github.com.json" | sha256sum -c --quiet -
	touch package/generated/api.github.com.json # it is as old as this
	mv package/generated/api.github.com.json "$dir/$4"
	rm ./*.tgz
}
fetch @octokit/openapi-webhooks 12.1.0 0a86fcfad6f38c696f2f1967311e61a4009adca58adac52d7df52e003d187b26 webhooks.json
fetch @octokit/openapi 23.0.2 829b4bebb19a53133289f7b0bc819f4f1118115821db2ca9f25e9ee995a7da2a api.github.com.json
