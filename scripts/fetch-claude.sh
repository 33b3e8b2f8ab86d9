#!/bin/sh
# Fetches a pinned Claude Code CLI into .cache/claude/VERSION and prints the path of its executable,
# which is .cache/claude/VERSION/claude.
#
#   scripts/fetch-claude.sh all        every version that scripts/claude-versions names, a path a line
#   scripts/fetch-claude.sh default    the last of them
#   scripts/fetch-claude.sh VERSION    that one
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

# find_here VERSION: the executable of an installation in the current folder. npm may leave install
# scripts out, and then .bin/claude is no program: the platform's own package holds it.
find_here() {
	for file in node_modules/.bin/claude node_modules/@anthropic-ai/claude-code-*/claude; do
		if runs "$PWD/$file" "$1"; then
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
	if runs "$dir/claude" "$version"; then
		echo "$dir/claude"
		return 0
	fi

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
	file=$(cd "$new" && find_here "$version") ||
		die "npm installed @anthropic-ai/claude-code@$version, but no executable in it runs here ($(uname -sm)); were optional dependencies left out (npm config get omit)?"
	ln -s "$file" "$new/claude"
	rm -rf "$dir"
	mv "$new" "$dir"
	echo "$dir/claude"
}

case ${1:-all} in
all) while read -r version; do fetch "$version"; done <"$root/scripts/claude-versions" ;;
default) fetch "$(tail -n 1 "$root/scripts/claude-versions")" ;;
*) fetch "$1" ;;
esac
