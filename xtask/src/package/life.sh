# What the Debian package promises, on a machine that booted systemd: ./dtma.deb is the package, ./newer.deb the same
# with a higher version.
set -e -u -o pipefail
at=begin
at_the_end() {
    [ $? != 0 ] || return
    echo "FAILED: $at"
    systemctl status --no-pager --lines=0 dtma || true
    journalctl -u dtma --no-pager -n 30
}
trap 'at_the_end >&2' EXIT
step() {
    at=$1
    echo "    - $at"
}
fail() {
    echo "$*" >&2
    false
}
same() { [ "$1" = "$2" ] || fail "it is \"$1\" and should be \"$2\""; }
# Not grep -q, which ends before the other has said all.
says() { grep -i -- "$1" > /dev/null || fail "nobody said \"$1\""; }
refused() { if "$@" > /dev/null 2>&1; then fail "it should be refused: $*"; fi; }
within_20s() {
    for _ in $(seq 100); do
        if "$@" > /dev/null 2>&1; then return 0; fi
        sleep 0.2
    done
    fail "still not so after 20 s: $*"
}
of_dtma() { systemctl show -P "$1" dtma.service; }
is() { [ "$(of_dtma "$1")" = "$2" ]; }
version() { dpkg-query -W -f '${Version}' dtma; }
# Every container with the instant at which it was started: restarting one would show.
containers() {
    docker ps -q --no-trunc --filter label=io.dtma.managed=true | sort \
        | xargs -r docker inspect --format '{{.Id}} {{.State.StartedAt}}'
}
serves() { dtma mcp call time get_current_time --arg timezone=Europe/Berlin | says Europe/Berlin; }
undisturbed() {
    same "$(containers)" "$before"
    serves
}
another_process() {
    [ "$(of_dtma MainPID)" != "$pid" ] || fail "the daemon is still process $pid"
    pid=$(of_dtma MainPID)
}

step "the package holds what it says and asks for what it needs"
dpkg-deb --field dtma.deb Depends | says libc6
dpkg-deb --contents dtma.deb > contents
for file in usr/bin/dtma usr/bin/dtma-daemon lib/systemd/system/dtma.service lib/systemd/system/dtma.socket \
    lib/systemd/system/run-dtma-secrets.mount etc/dtma/daemon.toml usr/share/man/man1/dtma.1.gz \
    usr/share/man/man1/dtma-apply.1.gz usr/share/man/man1/dtma-daemon.1.gz usr/share/man/man1/dtma-daemon-token.1.gz \
    usr/share/bash-completion/completions/dtma usr/share/zsh/vendor-completions/_dtma \
    usr/share/fish/vendor_completions.d/dtma.fish usr/share/doc/dtma/operating.md usr/share/doc/dtma/copyright; do
    grep -q " \./$file\$" contents || fail "$file is not in the package"
done
! grep -v -E ' (root/root|0/0) ' contents || fail "a file in it belongs to somebody else"

step "it installs and starts"
apt-get -q install ./dtma.deb
for unit in dtma.service run-dtma-secrets.mount; do
    systemctl is-active $unit
    systemctl is-enabled $unit
done
dpkg --verify dtma
same "$(stat -c '%a %U' /etc/dtma/token /var/lib/dtma /run/dtma /var/log/dtma | tr '\n' ' ')" "600 root 700 root 711 root 750 root "
same "$(stat -f -c %T /run/dtma/secrets)" tmpfs
findmnt -no OPTIONS /run/dtma/secrets | says noswap
# What the daemon mounts or writes is what everybody sees.
same "$(readlink "/proc/$(of_dtma MainPID)/ns/mnt")" "$(readlink /proc/1/ns/mnt)"
pid=$(of_dtma MainPID)
bash -c 'source /usr/share/bash-completion/completions/dtma && complete -p dtma' > /dev/null
gzip -dc /usr/share/man/man1/dtma-daemon.1.gz | says state
# Nothing that the unit asks of systemd is unknown to it or refused.
! journalctl -b --no-pager | grep -E 'dtma\.(service|socket):.*(Unknown|[Ii]gnoring|Failed to)' || fail "the unit is not understood"

step "it serves who has the token, and nobody else"
refused dtma status
DTMA_TOKEN=$(cat /etc/dtma/token)
export DTMA_TOKEN
dtma doctor
cat > clocks.yaml <<'EOF'
groupId: clocks
servers:
  - { instanceName: time, image: "dtma/mcp-server-time:dev", transport: stdio }
  - { instanceName: spare, image: "dtma/mcp-server-time:dev", transport: stdio }
EOF
dtma up -f clocks.yaml
before=$(containers)
same "$(echo "$before" | wc -l)" 2
undisturbed

step "a restart disturbs no container"
systemctl restart dtma
another_process
undisturbed

step "a reload keeps the process and opens the log files anew"
systemctl reload dtma
same "$(of_dtma MainPID)" "$pid"
journalctl -u dtma --no-pager | says 'opened anew'
undisturbed

step "killed, it is back, and no container is disturbed"
kill -KILL "$pid"
within_20s is NRestarts 1
within_20s is ActiveState active
another_process
undisturbed

step "stuck, it is ended by the watchdog and is back"
mkdir -p /run/systemd/system/dtma.service.d
printf '[Service]\nWatchdogSec=2\n' > /run/systemd/system/dtma.service.d/short.conf
systemctl daemon-reload
systemctl restart dtma
another_process
sleep 3
same "$(of_dtma MainPID)" "$pid"
kill -STOP "$pid"
within_20s is NRestarts 1
within_20s is ActiveState active
journalctl -u dtma --no-pager | says 'watchdog timeout'
another_process
undisturbed
rm -r /run/systemd/system/dtma.service.d
systemctl daemon-reload
systemctl restart dtma
another_process

step "an upgrade keeps state, token and settings"
printf 'log = "debug"\n' >> /etc/dtma/daemon.toml
sums=$(sha256sum /etc/dtma/token /etc/dtma/daemon.toml /var/lib/dtma/tokens.json)
old=$(version)
apt-get -q install ./newer.deb
dpkg --compare-versions "$(version)" gt "$old"
same "$(sha256sum /etc/dtma/token /etc/dtma/daemon.toml /var/lib/dtma/tokens.json)" "$sums"
another_process
dtma-daemon config show --origin | says '^log = "debug"  # /etc/dtma/daemon.toml:'
undisturbed

step "installed over itself it keeps them, too"
apt-get -q install --reinstall ./newer.deb
same "$(sha256sum /etc/dtma/token /etc/dtma/daemon.toml /var/lib/dtma/tokens.json)" "$sums"
another_process
undisturbed

step "stopped, it leaves every container running"
systemctl stop dtma
same "$(containers)" "$before"
refused dtma status
systemctl start dtma
another_process
undisturbed

step "behind the socket it starts when somebody asks, and a restart refuses nobody"
systemctl disable --now dtma.service
systemctl enable --now dtma.socket
same "$(of_dtma ActiveState)" inactive
undisturbed
same "$(of_dtma ActiveState)" active
for _ in 1 2 3; do
    systemctl restart dtma & restart=$!
    for _ in 1 2 3 4 5; do dtma status > /dev/null; done
    wait "$restart"
done
pid=$(of_dtma MainPID)

step "an upgrade starts nothing that somebody has disabled"
apt-get -q install --reinstall ./newer.deb
same "$(systemctl is-enabled dtma.service || true)" disabled
same "$(systemctl is-active dtma.socket)" active
undisturbed

step "removed, it leaves containers, state and settings; installed again, it adopts them"
apt-get -q remove dtma
refused test -e /usr/bin/dtma-daemon
refused systemctl is-active dtma.service
refused systemctl is-active dtma.socket
same "$(containers)" "$before"
test -s /var/lib/dtma/state.redb
test -s /etc/dtma/daemon.toml
apt-get -q install ./dtma.deb
systemctl enable --now dtma.service
undisturbed

step "purged, it leaves nothing but containers"
apt-get -q purge dtma
same "$(containers)" "$before"
refused systemctl is-active dtma.service
refused findmnt /run/dtma/secrets
left=$(find / /run -xdev -path /root -prune -o -iname '*dtma*' -print)
same "$left" ""
containers | cut -d ' ' -f 1 | xargs docker rm -f > /dev/null
