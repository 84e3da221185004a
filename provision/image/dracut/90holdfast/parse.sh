#!/bin/sh
# Whether the root is ours to bring: root=holdfast. Sourced by dracut.

# shellcheck disable=SC2154 # dracut sets root and hookdir
if [ "$root" = holdfast ]; then
    # shellcheck disable=SC2034 # dracut reads these
    rootok=1
    netroot=holdfast:
    # No way on before the root is there and proven.
    echo '[ -e /run/holdfast/proven ]' > "$hookdir/initqueue/finished/holdfast.sh"
fi
