#!/usr/bin/env bash
# Runs every test of Redial. The tests need PostgreSQL, RabbitMQ and Chromium; what is missing is installed (Debian and Ubuntu) and started.
#
#   scripts/test.sh                      everything
#   scripts/test.sh --test it delay      arguments go to `cargo test --locked`
#   scripts/test.sh --prepare            install and start what the tests need, run none
#
# REDIAL_TEST_AMQP_URL and REDIAL_TEST_DATABASE_URL name servers to use instead. Run twice, it installs and starts nothing twice.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Where Debian puts the programs that the tests start servers of their own from.
readonly RABBITMQ_PROGRAM=/usr/lib/rabbitmq/bin/rabbitmq-server
readonly POSTGRES_PROGRAMS=/usr/lib/postgresql
# Files that a server may have open. RabbitMQ sizes tables by it: a thousand is too few, the million of some containers too many.
readonly OPEN_FILES=65536

say() { printf 'test.sh: %s\n' "$*"; }
fail() { printf 'test.sh: %s\n' "$*" >&2; exit 1; }
has() { command -v "$1" >/dev/null 2>&1; }

is_root() { [ "$(id -u)" -eq 0 ]; }
can_be_root() { is_root || has sudo; }
as_root() { if is_root; then "$@"; else sudo "$@"; fi; }
under_systemd() { [ -d /run/systemd/system ]; }

# Whether something listens on this port of 127.0.0.1.
listens() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

docker_runs() { has docker && timeout 10 docker info >/dev/null 2>&1; }
can_install() { [ -e /etc/debian_version ] && has apt-get && can_be_root; }

has_chinese_fonts() { compgen -G '/usr/share/fonts/*/*/*CJK*' >/dev/null || { has fc-list && [ -n "$(fc-list :lang=zh-cn family)" ]; }; }
rabbitmq_is_installed() { [ -x "$RABBITMQ_PROGRAM" ]; }
postgres_is_installed() { compgen -G "$POSTGRES_PROGRAMS/*/bin/initdb" >/dev/null; }

# Whether PostgreSQL lets the tests in: the user postgres, by TCP, without a password.
postgres_answers() {
    listens 5432 || return 1
    has psql || return 0
    timeout 10 psql --no-psqlrc --no-password -h 127.0.0.1 -p 5432 -U postgres -d postgres -c 'select 1' >/dev/null 2>&1
}

# Waits up to $1 seconds until the command after it succeeds.
wait_up_to() {
    local seconds=$1 waited=0
    shift
    until "$@"; do
        [ "$waited" -lt "$seconds" ] || return 1
        sleep 1
        waited=$((waited + 1))
    done
}

find_rust() {
    # A fresh installation of Rust is in the PATH of the next login only.
    if ! has cargo && [ -x "${HOME:-/root}/.cargo/bin/cargo" ]; then
        PATH="${HOME:-/root}/.cargo/bin:$PATH"
    fi
    has cargo || fail "Rust is missing: install it with rustup (https://rustup.rs) and run this again; rust-toolchain.toml says which version"
}

# Prints the packages that are missing, one a line.
missing_packages() {
    # SQLite and the cryptography are compiled from C.
    has cc || printf '%s\n' gcc libc6-dev
    # Some tests stop and kill a RabbitMQ of their own, so its programs are needed even where a server runs.
    rabbitmq_is_installed || echo rabbitmq-server
    if [ -z "${REDIAL_TEST_DATABASE_URL:-}" ] && ! postgres_is_installed && ! postgres_answers && ! docker_runs; then
        echo postgresql
    fi
    # The console is tested in a real browser; its pictures show both languages.
    has chromium || has chromium-browser || has google-chrome || echo chromium
    has chromedriver || echo chromium-driver
    has_chinese_fonts || echo fonts-noto-cjk
}

apt_get() {
    # The locale is the new PostgreSQL's: without one its databases would not be UTF-8.
    as_root env DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 \
        apt-get -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 -qq -y "$@"
}

install_packages() {
    local log
    log=$(mktemp)
    say "installs $*"
    if ! { apt_get update && apt_get install --no-install-recommends "$@"; } >"$log" 2>&1; then
        cat "$log" >&2
        rm -f "$log"
        fail "apt-get could not install $*"
    fi
    rm -f "$log"
}

install_what_is_missing() {
    local packages
    mapfile -t packages < <(missing_packages)
    [ ${#packages[@]} -gt 0 ] || return 0
    if can_install; then
        install_packages "${packages[@]}"
        if [[ " ${packages[*]} " == *" postgresql "* ]]; then
            let_tests_into_postgres
        fi
        return 0
    fi
    case " ${packages[*]} " in
        *" gcc "* | *" postgresql "*)
            fail "missing: ${packages[*]} (Debian's names); this script installs them on Debian and Ubuntu as root or with sudo, elsewhere please do" ;;
        *)
            say "missing and not to be installed from here: ${packages[*]} (Debian's names); the tests that stop a RabbitMQ or open a browser will fail" ;;
    esac
}

# The cluster that listens on 5432, as "<version> <name> <online|down>"; nothing if there is none.
postgres_cluster() {
    has pg_lsclusters || return 0
    pg_lsclusters --no-header | awk '$3 == 5432 { split($4, status, ","); print $1, $2, status[1]; exit }'
}

# Opens the cluster that has just been made, and no other: without a password, from this machine, for the user postgres.
let_tests_into_postgres() {
    local version name status
    read -r version name status < <(postgres_cluster) || return 0
    as_root sed -i '1i host all postgres 127.0.0.1/32 trust' "/etc/postgresql/$version/$name/pg_hba.conf"
    if [ "$status" = online ]; then
        as_root pg_ctlcluster "$version" "$name" reload
    fi
}

start_postgres() {
    local version name status patience=3
    if [ -n "${REDIAL_TEST_DATABASE_URL:-}" ]; then
        say "PostgreSQL: the one that REDIAL_TEST_DATABASE_URL names"
        return 0
    fi
    if ! listens 5432 && read -r version name status < <(postgres_cluster) && [ "$status" = down ] && can_be_root; then
        say "starts PostgreSQL $version"
        as_root pg_ctlcluster "$version" "$name" start || true
        patience=30
    fi
    if wait_up_to "$patience" postgres_answers; then
        say "PostgreSQL: 127.0.0.1:5432"
    elif docker_runs || postgres_is_installed; then
        say "PostgreSQL: none on 127.0.0.1:5432 that lets the user postgres in; the tests start their own"
    else
        fail "PostgreSQL on 127.0.0.1:5432 does not let the user postgres in; name another in REDIAL_TEST_DATABASE_URL"
    fi
}

launch_rabbitmq() {
    if under_systemd; then
        as_root systemctl start rabbitmq-server
        return
    fi
    # Nothing but systemd starts services in a container, and Debian's policy-rc.d often forbids even to try.
    (
        ulimit -S -n "$OPEN_FILES" 2>/dev/null || true
        as_root rabbitmq-server -detached >/dev/null 2>&1
    )
}

start_rabbitmq() {
    if [ -n "${REDIAL_TEST_AMQP_URL:-}" ]; then
        say "RabbitMQ: the one that REDIAL_TEST_AMQP_URL names"
        return 0
    fi
    if ! listens 5672 && rabbitmq_is_installed && can_be_root; then
        say "starts RabbitMQ"
        launch_rabbitmq || true
        if wait_up_to 90 listens 5672; then
            as_root rabbitmqctl await_startup --timeout 60 >/dev/null 2>&1 || true
            # For whoever wants to look at the queues: http://127.0.0.1:15672, guest/guest.
            as_root rabbitmq-plugins enable rabbitmq_management >/dev/null 2>&1 || true
        fi
    fi
    if listens 5672; then
        say "RabbitMQ: 127.0.0.1:5672"
    elif docker_runs || rabbitmq_is_installed; then
        say "RabbitMQ: none on 127.0.0.1:5672; the tests start their own"
    else
        fail "RabbitMQ is missing: name one in REDIAL_TEST_AMQP_URL"
    fi
}

main() {
    find_rust
    install_what_is_missing
    start_postgres
    start_rabbitmq
    if [ "${1:-}" = --prepare ]; then
        return 0
    fi
    say "cargo test --locked${*:+ $*}"
    exec cargo test --locked "$@"
}

main "$@"
