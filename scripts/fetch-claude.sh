#!/bin/sh
# Fetches a pinned Claude Code CLI into .cache/claude/VERSION and prints the path of its executable.
#
#   scripts/fetch-claude.sh            every version that scripts/claude-versions names, a path a line
#   scripts/fetch-claude.sh VERSION    one version
#
# Nothing is fetched when it is there already and runs. The cache is CLAUDE_CACHE if that is set.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
cache=${CLAUDE_CACHE:-$root/.cache/claude}

say() { echo "fetch-claude: $*" >&2; }
die() { say "$*"; exit 1; }

# runs FILE VERSION: it is an executable of that version.
runs() {
	[ -x "$1" ] || return 1
	case "$(HOME=$cache DISABLE_AUTOUPDATER=1 "$1" --version 2>/dev/null </dev/null)" in
	"$2 "*) return 0 ;;
	esac
	return 1
}

# find FOLDER VERSION: the executable in an installed folder. npm may leave install scripts out, and
# then .bin/claude is no program: the platform's own package holds it.
find_in() {
	for file in "$1"/node_modules/.bin/claude "$1"/node_modules/@anthropic-ai/claude-code-*/claude; do
		if runs "$file" "$2"; then
			echo "$file"
			return 0
		fi
	done
	return 1
}

fetch() {
	version=$1
	case $version in
	*[!0-9.]* | "" | -*) die "\"$version\" is no version; want one like $(tail -n 1 "$root/scripts/claude-versions")" ;;
	esac
	dir=$cache/$version
	find_in "$dir" "$version" && return 0

	command -v node >/dev/null || die "node is not installed: install Node.js 18 or newer with npm (https://nodejs.org), then try again"
	command -v npm >/dev/null || die "npm is not installed: it comes with Node.js (https://nodejs.org); on Debian and Ubuntu: apt-get install npm"
	say "installing Claude Code $version into $dir"
	new=$dir.$$
	trap 'rm -rf "$new"' EXIT
	rm -rf "$new"
	mkdir -p "$new"
	echo '{"private":true}' >"$new/package.json"
	(cd "$new" && npm install --no-audit --no-fund --no-update-notifier --loglevel=error "@anthropic-ai/claude-code@$version" >&2) ||
		die "npm could not install @anthropic-ai/claude-code@$version: its message is above; is the registry reachable (npm config get registry)?"
	find_in "$new" "$version" >/dev/null ||
		die "npm installed @anthropic-ai/claude-code@$version, but no executable in it runs here ($(uname -sm)); were optional dependencies left out (npm config get omit)?"
	rm -rf "$dir"
	mv "$new" "$dir"
	find_in "$dir" "$version"
}

if [ $# -gt 0 ]; then
	fetch "$1"
else
	while read -r version; do fetch "$version"; done <"$root/scripts/claude-versions"
fi
