# Of interactive shells that are no login shells.

if [ -f /etc/bashrc ]; then
    . /etc/bashrc
fi
