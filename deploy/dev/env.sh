# Sourced by the scripts of this folder: where things are, how they speak, and how a server runs
# as a user that is not root and ends with the process that wanted it.
# shellcheck shell=bash disable=SC2034 # used by those who source it

repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# Downloads, shared by all servers of this checkout: .dev/cache unless said otherwise.
cache=${WALPOST_DEV_CACHE:-$repo/.dev/cache}
kafka_version=4.3.1
# As in kubernetes/go.mod.
kubernetes_version=1.36.3
apicurio_version=2.6.13.Final
oidc_version=8.8.1
debezium_version=3.7.0.Final

say() { printf '%s: %s\n' "$(basename "$0")" "$*" >&2; }
die() {
    say "$*"
    exit 1
}

# as_server COMMAND…: runs it as `nobody` when we are root, because Postgres refuses to run as root.
# The one capability lets it reach a checkout below a folder that only root may enter (/root, mktemp);
# the bit makes access(2), by which initdb looks for postgres, honour it (capabilities(7)).
as_server() {
    if [ "$(id -u)" -eq 0 ]; then
        setpriv --reuid nobody --regid nogroup --clear-groups \
            --inh-caps +dac_override --ambient-caps +dac_override --securebits +no_setuid_fixup -- "$@"
    else
        "$@"
    fi
}

# alive PIDFILE: whether the process whose number is in the file's first line runs, and is of "$dir":
# after a restart of the machine the number may be another process's. What is of "$dir" names it on its
# command line or in its environment.
# A zombie has ended: it only waits for its parent to read the exit code.
# Asked ten times a second while something starts, so it starts no process itself.
alive() {
    local pid stat word said tries=0
    [ -s "$1" ] || return 1
    read -r pid <"$1"
    # In the middle of an exec both files are there and empty, or half full, for a moment: the new
    # memory has no arguments yet (Linux, fs/exec.c). So a process is another one only after five looks.
    while [ $((tries += 1)) -le 5 ]; do
        { read -r stat <"/proc/$pid/stat"; } 2>/dev/null || return 1
        [[ ${stat##*) } != Z* ]] || return 1
        for said in cmdline environ; do
            { while IFS= read -r -d '' word; do
                [[ $word != *"$dir"* ]] || return 0
            done <"/proc/$pid/$said"; } 2>/dev/null
        done
        sleep 0.01
    done
    return 1
}

# wait_gone PIDFILE SECONDS: waits for that process to end; false when it has not by then.
wait_gone() {
    local tenths=$(($2 * 10))
    while alive "$1"; do
        [ $((tenths -= 1)) -gt 0 ] || return 1
        sleep 0.1
    done
}

# spawn PIDFILE LOG COMMAND…: starts it in the background. Its number is in PIDFILE when this returns,
# and by then it is known as one of "$dir".
spawn() {
    local pidfile=$1 log=$2
    shift 2
    rm -f "$pidfile"
    # shellcheck disable=SC2016 # expanded by the inner shell
    SERVER_DIR=$dir bash -c 'echo $$ >"$0" && exec "$@"' "$pidfile" "$@" </dev/null >>"$log" 2>&1 &
    until [ -s "$pidfile" ]; do sleep 0.01; done
}

# guard PARENT REMOVE SCRIPT DIR: kills the server in DIR as soon as PARENT is gone, even by
# SIGKILL, and removes DIR if REMOVE is true. A watcher of its own, because the kernel's parent-death
# signal follows the thread that forked, which here is this script.
guard() {
    local parent=$1 remove=$2 script=$3 dir=$4
    # An earlier start's guard watches already.
    if alive "$dir/guard.pid" && [ "$(cat "$dir/guard.parent")" = "$parent" ]; then return; fi
    printf '%s\n' "$parent" >"$dir/guard.parent"
    # shellcheck disable=SC2016 # expanded by the inner shell
    spawn "$dir/guard.pid" /dev/null setsid bash -c '
        tail --pid="$1" -s 0.2 -f /dev/null
        "$3" kill --dir "$4"
        [ "$2" = false ] || rm -rf "$4"
    ' guard "$parent" "$remove" "$script" "$dir"
}

# show_log FILE: its last lines, for the reader of a failure.
show_log() {
    say "the last lines of $1:"
    tail -n 30 "$1" >&2 || true
}

# need COMMAND PACKAGE: makes sure COMMAND can be run, by Debian's PACKAGE if it must be installed.
need() {
    command -v "$1" >/dev/null || apt_install "$1" "$2"
}

apt_install() {
    [ "$(id -u)" -eq 0 ] || die "\`$1\` is missing: install it (Debian: apt-get install $2), or run this as root"
    say "installing $2 by apt"
    mkdir -p "$cache"
    local log=$cache/apt.log get=(apt-get -o DPkg::Lock::Timeout=300)
    local -x DEBIAN_FRONTEND=noninteractive
    # A new machine has no lists yet, and old lists name versions that are gone.
    "${get[@]}" install -y --no-install-recommends "$2" >"$log" 2>&1 ||
        { "${get[@]}" update && "${get[@]}" install -y --no-install-recommends "$2"; } >"$log" 2>&1 ||
        { show_log "$log"; die "apt could not install $2"; }
}

# python_tool PACKAGE VERSION: installs it from PyPI into a folder of its own and prints where its
# programs are.
python_tool() {
    local to=$cache/python-$1-$2
    if [ ! -d "$to" ]; then
        need python3 python3
        python3 -c 'import ensurepip, venv' 2>/dev/null || apt_install "python3 -m venv" python3-venv
        say "installing $1 $2 from PyPI"
        mkdir -p "$cache"
        local part
        part=$(mktemp -d "$cache/part.XXXXXX")
        # A virtual environment cannot be moved: it is linked under its name once it is whole.
        { python3 -m venv "$part" && "$part/bin/pip" install --quiet "$1==$2"; } >&2 ||
            { rm -rf "$part"; die "pip could not install $1==$2"; }
        ln -sfn "$(basename "$part")" "$to"
    fi
    printf '%s\n' "$to/bin"
}

# go_tool PACKAGE VERSION [OPTIONS…]: builds a program from its Go module and prints the folder it is in.
go_tool() {
    local name to
    name=$(basename "$1")
    to=$cache/$name-$2
    if [ ! -x "$to/$name" ]; then
        command -v go >/dev/null || die "\`go\` is missing: install Go 1.25 or newer, $name is built from its module"
        say "building $name $2"
        mkdir -p "$cache"
        GOBIN=$to GOFLAGS='' go install -ldflags '-s -w' "${@:3}" "$1@$2" >"$cache/$name.log" 2>&1 ||
            { show_log "$cache/$name.log"; die "$name could not be built"; }
    fi
    printf '%s\n' "$to"
}

# helm_tool: the same of Helm. Its own Makefile links in the version of Kubernetes that it assumes when
# it asks no cluster.
helm_tool() {
    local chartutil=helm.sh/helm/v3/pkg/chartutil
    go_tool helm.sh/helm/v3/cmd/helm v3.22.0 \
        -ldflags "-s -w -X $chartutil.k8sVersionMajor=1 -X $chartutil.k8sVersionMinor=36"
}

# go_folder MODULE VERSION: downloads a Go module and prints the folder of its sources.
go_folder() {
    command -v go >/dev/null || die "\`go\` is missing: install Go 1.25 or newer"
    go mod download -json "$1@$2" | sed -n 's/^[[:space:]]*"Dir": "\(.*\)",*$/\1/p'
}
