# Boots systemd on a Debian in a directory: `unshare --mount --pid --fork --uts --ipc --cgroup sh boot.sh LOWER SCRATCH
# SOCKET` within a cgroup of its own. What it writes goes into memory; everything is gone when it ends.
#
# It is not `docker run --privileged`: with cgroup v1 systemd then takes over hierarchies that belong to the engine. Here
# it gets one cgroup of v2 as its root and sees no other.
set -eu
lower=$1 scratch=$2 socket=$3
mount --make-rprivate /
mount -t tmpfs -o mode=0755 tmpfs "$scratch"
cd "$scratch"
mkdir upper work root
mount -t overlay -o "lowerdir=$lower,upperdir=upper,workdir=work" overlay root
cd root
mount -t proc proc proc
# Kernel settings and devices are those of the host: not to be changed from here.
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=0755,nosuid tmpfs dev
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
mount -t tmpfs -o mode=1777 tmpfs dev/shm
for device in full null random tty urandom zero; do
    touch "dev/$device"
    mount --bind "/dev/$device" "dev/$device"
done
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
ln -s fd/0 dev/stdin
ln -s fd/1 dev/stdout
ln -s fd/2 dev/stderr
mount -t tmpfs -o mode=0755 tmpfs run
touch run/docker.sock
mount --bind "$socket" run/docker.sock
pivot_root . mnt
umount -l /mnt
exec env -i container=dtma PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    setpriv --bounding-set=-sys_module,-sys_rawio,-sys_time,-syslog,-mac_admin,-mac_override \
    /lib/systemd/systemd --unit=multi-user.target
