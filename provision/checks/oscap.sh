# Run as root on a node: CONTENT PROFILE SECONDS BYTES all|results [RULE...]
# Reads BYTES of tailoring from standard input and answers with a packed folder: what OpenSCAP
# wrote, and how it ended. It leaves nothing behind.
set -eu
umask 077
export LC_ALL=C.UTF-8
content=$1 profile=$2 seconds=$3 bytes=$4 writes=$5
shift 5
command -v oscap >/dev/null || { echo 'oscap is not installed' >&2; exit 3; }
work=$(mktemp -d /var/tmp/holdfast-oscap.XXXXXX)
trap 'rm -rf "$work"' EXIT
trap 'exit 4' HUP INT TERM
cd "$work"
for rule in "$@"; do
    shift
    set -- "$@" --skip-rule "xccdf_org.ssgproject.content_rule_$rule"
done
if [ "$bytes" -gt 0 ]; then
    head -c "$bytes" >tailoring.xml
    set -- --tailoring-file tailoring.xml "$@"
fi
# The page and the asset report are made of the results once these are there.
if [ "$writes" = all ]; then
    set -- --results-arf arf.xml --report report.html "$@"
fi
# A unit that systemd says nothing of within 25 s is none to OpenSCAP, and rules pass or fail by that.
# So it is kept which rules ask systemd, and in between whether it answers somebody else.
ask() {
    said=late
    busctl --timeout=20 call org.freedesktop.systemd1 /org/freedesktop/systemd1 \
        org.freedesktop.systemd1.Manager ListUnits >/dev/null 2>&1 5>&- && said=answered
    echo "systemd $said" >&5
}
mkfifo log
grep -E -e '^I: oscap: (Evaluating (XCCDF rule|definition)|Definition|Querying systemdunit)' \
    -e '^([EW]: |systemd )' <log >asked.log &
reader=$!
exec 5>log
{ until [ -e end ] || [ ! -p log ]; do ask; sleep 1 5>&-; done; ask; } &
watch=$!
status=0
timeout -k 5 "$seconds" oscap --verbose INFO --verbose-log-file log \
    xccdf eval --profile "$profile" "$@" \
    --results results.xml "$content" >/dev/null 2>oscap.log 5>&- || status=$?
touch end
wait "$watch" || :
exec 5>&-
wait "$reader" || :
grep '^[EW]: ' asked.log >>oscap.log || :
printf '{"status": %d}\n' "$status" >status.json
set -- status.json
for name in asked.log oscap.log results.xml arf.xml report.html; do
    [ -f "$name" ] && set -- "$@" "$name"
done
tar -cf - "$@" | gzip -3
