"""Open vSwitch on the hosts of the overlay bench, with the datapath in ovs-vswitchd ("netdev"): that of
Homeport, and one that is programmed by hand."""

import atexit
import json
import os
import pathlib
import shutil
import subprocess
import tempfile


class Switch:
    """A database and an ovs-vswitchd of the host's own, which end with the bench. The underlay is in a
    bridge of its own, as this datapath needs it."""

    def __init__(self, host, run, vtep, prefix):
        self.host, self.run = host, run
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="homeport-bench-ovs-"))
        atexit.register(shutil.rmtree, self.directory, ignore_errors=True)
        self.environment = dict(os.environ, OVS_RUNDIR=str(self.directory),
                                OVS_LOGDIR=str(self.directory), OVS_DBDIR=str(self.directory))
        database = str(self.directory / "conf.db")
        run("ovsdb-tool", "create", database, "/usr/share/openvswitch/vswitch.ovsschema")
        self.database = f"unix:{self.directory}/db.sock"
        self.start("ovsdb-server", database, f"--remote=p{self.database}",
                   f"--unixctl={self.directory}/db.ctl", "--no-self-confinement")
        self.vsctl("--retry", "--no-wait", "init")
        self.daemon = self.start("ovs-vswitchd", self.database, "--pidfile")
        self.vsctl("add-br", "br-phy", "--", "set", "Bridge", "br-phy", "datapath_type=netdev",
                   "--", "add-port", "br-phy", "uplink")
        host.run("sh", "-c", "echo 1 >/proc/sys/net/ipv4/conf/all/arp_ignore")
        host.ip("address", "flush", "dev", "uplink")
        host.ip("address", "add", vtep + prefix, "dev", "br-phy", "nodad")
        host.ip("link", "set", "br-phy", "up")

    def start(self, program, *arguments):
        process = subprocess.Popen(
            self.host.command(program, *arguments, "-vconsole:off", "-vsyslog:off"),
            env=self.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        atexit.register(process.wait)
        atexit.register(process.kill)
        return process

    def vsctl(self, *arguments):
        return self.run("ovs-vsctl", "--timeout=20", f"--db={self.database}", *arguments)

    def mac(self):
        return json.loads(self.host.ip("-j", "link", "show", "br-phy"))[0]["address"]

    def know(self, vtep, mac):
        """Where to send the tunnel's packets: the first would be dropped while it asks."""
        self.run("ovs-appctl", "-t", f"{self.directory}/ovs-vswitchd.{self.daemon.pid}.ctl",
                 "tnl/neigh/set", "br-phy", vtep, mac)


def switches(hosts, run, node):
    """One on each host. What is read from their devices is complete, as from a network card."""
    for namespace, device in [(host, "uplink") for host in hosts.hosts] + [
            (app, "eth0") for app in hosts.apps]:
        namespace.run(str(node), "offloads-off", device)
    both = [Switch(host, run, vtep, "/24") for host, vtep in zip(hosts.hosts, hosts.vteps)]
    for i in (0, 1):
        both[i].know(hosts.vteps[1 - i], both[1 - i].mac())
    return both


def carry_by_hand(hosts, both):
    """A bridge, a tunnel to the other host, and the fewest flows that will do."""
    for i, switch in enumerate(both):
        switch.vsctl("add-br", "br-int", "--", "set", "Bridge", "br-int", "datapath_type=netdev",
                     "fail_mode=secure", "--", "add-port", "br-int", "port", "--",
                     "set", "Interface", "port", "ofport_request=1", "--",
                     "add-port", "br-int", "vxlan", "--", "set", "Interface", "vxlan", "type=vxlan",
                     "ofport_request=2", f"options:remote_ip={hosts.vteps[1 - i]}",
                     f"options:local_ip={hosts.vteps[i]}", "options:key=42")
        for flow in ("in_port=1,actions=output:2", "in_port=2,actions=output:1"):
            switch.run("ovs-ofctl", "add-flow", f"unix:{switch.directory}/br-int.mgmt", flow)
