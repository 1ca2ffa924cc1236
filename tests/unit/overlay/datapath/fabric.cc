#include "tests/unit/overlay/datapath/fabric.h"

#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstring>

namespace homeport::overlay {

using boost::asio::ip::make_address;

namespace {

[[noreturn]] void fail(const std::string& what) {
  throw std::system_error(errno, std::generic_category(), what);
}

bool readable(int fd, int milliseconds) {
  pollfd poll_fd{.fd = fd, .events = POLLIN, .revents = 0};
  return ::poll(&poll_fd, 1, milliseconds) == 1;
}

constexpr int kPatienceMilliseconds = 5000;

}  // namespace

BpfFileSystem::BpfFileSystem() {
  std::string name = std::filesystem::temp_directory_path() / "homeport-bpf-XXXXXX";
  if (!::mkdtemp(name.data())) fail("mkdtemp");
  path_ = name;
  if (::unshare(CLONE_NEWNS) < 0) fail("unshare: needs root");
  if (::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) < 0) fail("mount --make-private");
  if (::mount("bpf", path_.c_str(), "bpf", 0, nullptr) < 0) fail("mount -t bpf");
}

BpfFileSystem::~BpfFileSystem() {
  ::umount2(path_.c_str(), MNT_DETACH);
  ::rmdir(path_.c_str());
}

Socket::Socket(const NetNamespace& inside, bool v6) {
  fd_ = inside.run([v6] { return UniqueFd(::socket(v6 ? AF_INET6 : AF_INET, SOCK_DGRAM, 0)); });
  sockaddr_in6 address{};
  address.sin6_family = v6 ? AF_INET6 : AF_INET;
  socklen_t length = v6 ? sizeof(sockaddr_in6) : sizeof(sockaddr_in);
  if (::bind(fd_.get(), reinterpret_cast<sockaddr*>(&address), length) < 0) fail("bind");
  ::getsockname(fd_.get(), reinterpret_cast<sockaddr*>(&address), &length);
  port_ = ntohs(address.sin6_port);  // The same place in both families.
}

void Socket::send(const policy::IpAddress& to, std::uint16_t port, const std::string& data,
                  const std::optional<policy::IpAddress>& source) {
  boost::asio::ip::udp::endpoint endpoint(to, port);
  iovec payload{const_cast<char*>(data.data()), data.size()};
  msghdr message{};
  message.msg_name = endpoint.data();
  message.msg_namelen = static_cast<socklen_t>(endpoint.size());
  message.msg_iov = &payload;
  message.msg_iovlen = 1;
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(in6_pktinfo))> control{};
  if (source) {
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    cmsghdr* item = CMSG_FIRSTHDR(&message);
    if (source->is_v6()) {
      in6_pktinfo info{};
      std::memcpy(&info.ipi6_addr, source->to_v6().to_bytes().data(), 16);
      *item = {CMSG_LEN(sizeof(info)), IPPROTO_IPV6, IPV6_PKTINFO};
      std::memcpy(CMSG_DATA(item), &info, sizeof(info));
      message.msg_controllen = CMSG_SPACE(sizeof(info));
    } else {
      in_pktinfo info{};
      info.ipi_spec_dst.s_addr = htonl(source->to_v4().to_uint());
      *item = {CMSG_LEN(sizeof(info)), IPPROTO_IP, IP_PKTINFO};
      std::memcpy(CMSG_DATA(item), &info, sizeof(info));
      message.msg_controllen = CMSG_SPACE(sizeof(info));
    }
  }
  if (::sendmsg(fd_.get(), &message, 0) < 0) fail("sendmsg " + to.to_string());
}

void Socket::connect(const policy::IpAddress& to, std::uint16_t port) {
  const boost::asio::ip::udp::endpoint endpoint(to, port);
  if (::connect(fd_.get(), endpoint.data(), static_cast<socklen_t>(endpoint.size())) < 0) {
    fail("connect " + to.to_string());
  }
}

void Socket::send(const std::string& data) {
  if (::send(fd_.get(), data.data(), data.size(), 0) < 0) fail("send");
}

std::optional<std::string> Socket::receive() {
  auto received = receive_from();
  if (!received) return std::nullopt;
  return std::move(received->data);
}

std::optional<Socket::Received> Socket::receive_from() {
  if (!readable(fd_.get(), kPatienceMilliseconds)) return std::nullopt;
  std::array<char, 65536> buffer;
  boost::asio::ip::udp::endpoint from;
  auto from_length = static_cast<socklen_t>(from.capacity());
  const ssize_t length =
      ::recvfrom(fd_.get(), buffer.data(), buffer.size(), 0, from.data(), &from_length);
  if (length < 0) fail("recvfrom");
  from.resize(from_length);
  return Received{std::string(buffer.data(), static_cast<std::size_t>(length)), from};
}

bool Socket::pending() const {
  return readable(fd_.get(), 0);
}

const std::vector<Fleet>& fleets() {
  using enum Kind;
  static const std::vector<Fleet> all = {{"EbpfOverIpv4", Underlay::v4, {ebpf, ebpf, ebpf}},
                                         {"EbpfOverIpv6", Underlay::v6, {ebpf, ebpf, ebpf}},
                                         {"OvsOverIpv4", Underlay::v4, {ovs, ovs, ovs}},
                                         {"OvsOverIpv6", Underlay::v6, {ovs, ovs, ovs}},
                                         {"MixedOverIpv4", Underlay::v4, {ebpf, ovs, ebpf}},
                                         {"MixedOverIpv6", Underlay::v6, {ovs, ebpf, ovs}}};
  return all;
}

void Host::settle() {
  // Twice, as a round that was under way may be what ends the first wait.
  for (int i = 0; open_vswitch && i < 2; ++i) open_vswitch->appctl({"revalidator/wait"});
}

void Host::restart() {
  datapath.reset();
  datapath = inside.run([&] {
    return kind == Kind::ebpf ? make_ebpf_datapath(options).value()
                              : make_ovs_datapath(ovs_options).value();
  });
}

Wire::Wire(const NetNamespace& inside, const std::string& device) {
  fd_ = inside.run([&] {
    UniqueFd fd(::socket(AF_PACKET, SOCK_DGRAM | SOCK_NONBLOCK, 0));
    sockaddr_ll at{};
    at.sll_family = AF_PACKET;
    at.sll_protocol = htons(ETH_P_ALL);
    at.sll_ifindex = static_cast<int>(::if_nametoindex(device.c_str()));
    if (::bind(fd.get(), reinterpret_cast<sockaddr*>(&at), sizeof(at)) < 0) fail("bind");
    return fd;
  });
}

std::uint64_t Wire::count() {
  std::array<unsigned char, 128> packet;
  sockaddr_ll from{};
  while (true) {
    socklen_t from_length = sizeof(from);
    const ssize_t length = ::recvfrom(fd_.get(), packet.data(), packet.size(), MSG_TRUNC,
                                      reinterpret_cast<sockaddr*>(&from), &from_length);
    if (length < 0) return count_;
    const std::size_t udp = packet[0] >> 4 == 4 ? 20 : 40;
    if (from.sll_pkttype == PACKET_OUTGOING || length < 60) continue;
    const bool is_udp = packet[udp == 20 ? 9 : 6] == IPPROTO_UDP;
    if (is_udp && (packet[udp + 2] << 8 | packet[udp + 3]) == kUdpPort) ++count_;
  }
}

Fabric::Fabric(const BpfFileSystem& bpf, int hosts, Underlay underlay)
    : Fabric(bpf, Fleet{"", underlay, std::vector<Kind>(static_cast<std::size_t>(hosts))}) {}

void Fabric::join_underlay(Host& host, const std::string& device) {
  const bool v6 = fleet_.underlay == Underlay::v6;
  host.inside.run([&] {
    set_link_up(device, true).value();
    for (const auto& address : {host.vtep, host.second}) add_address(device, address, v6 ? 64 : 24);
  });
}

void Fabric::add_host(Kind kind, std::filesystem::path pin_directory) {
  auto host = std::make_unique<Host>();
  const std::string number = std::to_string(hosts_.size() + 1);
  const std::string wire = "host" + number;
  const bool v6 = fleet_.underlay == Underlay::v6;
  switch_.run([&] { create_veth(wire, "underlay", host->inside.fd()); });
  switch_.shell("ip link set " + wire + " master br0 up");
  host->kind = kind;
  host->vtep = make_address((v6 ? "2001:db8::" : "192.0.2.") + number);
  host->second = make_address((v6 ? "2001:db8:2::" : "198.51.100.") + number);
  if (fleet_.has(Kind::ovs)) host->inside.run([] { set_offloads_off("underlay").value(); });
  if (kind == Kind::ebpf) {
    host->options.pin_directory = std::move(pin_directory);
    host->options.udp_port = kUdpPort;
    if (v6) {
      host->options.local_vtep_v6 = host->vtep.to_v6();
    } else {
      host->options.local_vtep_v4 = host->vtep.to_v4();
    }
    join_underlay(*host, "underlay");
  } else {
    // The userspace datapath handles tunnels by itself: the underlay is a bridge of its own.
    host->open_vswitch = std::make_unique<test::TestSwitch>(host->inside.fd());
    // It forgets all its tunnels for a moment at every change of a route, as devices with IPv6
    // cause it when they come and when their link-local address has proved to be theirs alone.
    host->inside.run([] {
      set_ipv6_silent("underlay").value();
      set_link_up("underlay", true).value();
    });
    // The kernel sees the bridge's packets at its port too, and is not to answer there.
    host->inside.shell("sysctl -qw net.ipv4.conf.all.arp_ignore=1");
    host->open_vswitch->vsctl({"add-br", "br-phy", "--", "set", "Bridge", "br-phy",
                               "datapath_type=netdev",
                               // Otherwise that of a port, once it has one.
                               "other_config:hwaddr=\"02:ff:00:00:00:0" + number + "\"", "--",
                               "add-port", "br-phy", "underlay"});
    host->ovs_options.bridge = host->open_vswitch->bridge("br-int");
    host->ovs_options.udp_port = kUdpPort;
    host->ovs_options.local_vtep = host->vtep;
    host->inside.run([] { set_ipv6_silent("br-phy").value(); });  // as above
    join_underlay(*host, "br-phy");
  }
  host->restart();
  host->desired.networks = {{kVni, tunnel_mtu(kUnderlayMtu)}};
  wires_.push_back(std::make_unique<Wire>(switch_, wire));
  hosts_.push_back(std::move(host));
}

/// The userspace datapath drops a packet to a host whose MAC address it does not know yet, and
/// asks.
void Fabric::introduce_neighbors() {
  for (auto& host : hosts_) {
    if (host->kind != Kind::ovs) continue;
    for (auto& other : hosts_) {
      if (other == host) continue;
      const std::string mac = other->inside.run([&] {
        return find_link(other->kind == Kind::ovs ? "br-phy" : "underlay").value().mac.to_string();
      });
      for (const auto& address : {other->vtep, other->second}) {
        host->open_vswitch->appctl({"tnl/neigh/set", "br-phy", address.to_string(), mac});
      }
    }
  }
}

Fabric::Fabric(const BpfFileSystem& bpf, const Fleet& fleet) : fleet_(fleet) {
  static int fabrics = 0;
  ++fabrics;
  switch_.shell("ip link add br0 type bridge && ip link set br0 up");
  for (Kind kind : fleet.hosts) {
    add_host(kind, bpf.path() / (std::to_string(fabrics) + "-" + std::to_string(hosts_.size())));
  }
  introduce_neighbors();
  const int hosts = static_cast<int>(hosts_.size());
  for (int number = 1; number <= hosts; ++number) {
    for (int other = 1; other <= hosts; ++other) {
      if (other == number) continue;
      host(number).desired.vteps.push_back(host(other).vtep);
      host(number).desired.networks[0].hosts.push_back(host(other).vtep);
    }
    App& app = add_app(number);
    host(number).desired.ports.push_back({app.device, kVni, app.mac, false});
  }
  for (int number = 1; number <= hosts; ++number) {
    for (int other = 1; other <= hosts; ++other) {
      host(number).desired.addresses.push_back(entry(app(other), number, other));
    }
  }
  apply_all();
}

void Fabric::add_interface(int host_number, const std::string& device,
                           const policy::IpAddress& address) {
  const std::string wire = device + "-" + std::to_string(host_number);
  Host& home = host(host_number);
  switch_.run([&] { create_veth(wire, device, home.inside.fd()); });
  switch_.shell("ip link set " + wire + " master br0 up");
  home.inside.run([&] {
    set_ipv6_silent(device).value();
    set_link_up(device, true).value();
    add_address(device, address, address.is_v6() ? 64 : 24);
  });
}

void Fabric::unplug(int host_number) {
  switch_.shell("ip link set host" + std::to_string(host_number) + " nomaster");
}

void Fabric::plug_in(int host_number) {
  switch_.shell("ip link set host" + std::to_string(host_number) + " master br0");
}

void Fabric::cut(int one, int other) {
  for (int number : {one, other}) {
    switch_.shell("ip link set host" + std::to_string(number) + " type bridge_slave isolated on");
  }
}

void Fabric::mend(int one, int other) {
  for (int number : {one, other}) {
    switch_.shell("ip link set host" + std::to_string(number) + " type bridge_slave isolated off");
  }
}

Sniffer Fabric::sniffer(int host_number) const {
  return Sniffer(switch_, "host" + std::to_string(host_number));
}

App& Fabric::add_app(int host_number) {
  auto app = std::make_unique<App>();
  app->number = static_cast<int>(apps_.size()) + 1;
  app->mac = {{0x02, 0, 0, 0, 0, static_cast<std::uint8_t>(app->number)}};
  app->v4 = make_address("10.0.0." + std::to_string(app->number));
  app->v6 = make_address("fd00::" + std::to_string(app->number));
  app->device = "app" + std::to_string(app->number);
  plug(*app, host_number, app->device);
  apps_.push_back(std::move(app));
  return *apps_.back();
}

void Fabric::plug(App& app, int host_number, const std::string& device) {
  const std::uint32_t mtu = tunnel_mtu(kUnderlayMtu);
  host(host_number).inside.run([&] {
    create_veth(device, "eth0", app.inside.fd());
    set_ipv6_silent(device).value();
    set_link_mtu(device, mtu).value();
    set_link_up(device, true).value();
  });
  // The kernel's reports of the groups it is in (a hop-by-hop header is their first) would be
  // counted at any time.
  app.inside.shell(
      "tc qdisc add dev eth0 clsact && tc filter add dev eth0 egress protocol ipv6 "
      "bpf da bytecode '4,48 0 0 20,21 0 1 0,6 0 0 2,6 0 0 4294967295'");
  app.inside.run([&] {
    set_link_mac("eth0", app.mac).value();
    set_link_mtu("eth0", mtu).value();
    set_ipv6_silent("eth0").value();
    if (fleet_.has(Kind::ovs)) set_offloads_off("eth0").value();
    set_link_up("eth0", true).value();
    add_address("eth0", app.v4, 24);
    add_address("eth0", app.v6, 64);
  });
  // The kernel takes an IPv6 address into service a moment after carrier comes up.
  int attempts = 0;
  const bool ready = eventually([&] {
    ++attempts;
    Socket self(app.inside, true);
    try {
      self.send(app.v6, self.port(), "x");
    } catch (const std::system_error&) {
      return false;
    }
    return self.pending();
  });
  // Until then it took its own address for a neighbor's, and would go on asking for that for three
  // seconds, which is counted.
  if (attempts > 1) app.inside.shell("ip -6 neigh flush dev eth0");
  if (!ready) throw std::runtime_error("the address " + app.v6.to_string() + " does not serve");
}

AddressEntry Fabric::entry(const App& app, int seen_from, int located_at, policy::Generation g) {
  AddressEntry entry{kVni, app.mac, app.ips(), LocalPort{app.device}, g};
  if (seen_from != located_at) entry.location = RemoteHost{host(located_at).vtep};
  return entry;
}

AddressEntry Fabric::left(const App& app, int seen_from, int located_at, policy::Generation g) {
  AddressEntry entry = this->entry(app, seen_from, located_at, g);
  entry.relayed = true;
  return entry;
}

AddressEntry& Fabric::desired_entry(int host_number, const App& app) {
  for (AddressEntry& entry : host(host_number).desired.addresses) {
    if (entry.mac == app.mac) return entry;
  }
  throw std::runtime_error("host " + std::to_string(host_number) + " does not know the app");
}

App& Fabric::join(int host_number, policy::Vni vni) {
  App& app = add_app(host_number);
  Host& home = host(host_number);
  home.desired.ports.push_back({app.device, vni, app.mac, false});
  for (int number = 1; number <= static_cast<int>(hosts_.size()); ++number) {
    AddressEntry seen = entry(app, number, host_number);
    seen.vni = vni;
    host(number).desired.addresses.push_back(seen);
  }
  return app;
}

Port Fabric::held_port(const App& app, int host_number) {
  const std::string device = app.device + "b";
  host(host_number).inside.run([&] { create_tap({.name = device}).value(); });
  return {device, kVni, app.mac, true};
}

void Fabric::set_mtu(const App& app, int host_number, std::uint32_t mtu) {
  app.inside.run([&] { set_link_mtu("eth0", mtu).value(); });
  Host& host = this->host(host_number);
  host.inside.run([&] { set_link_mtu(app.device, mtu).value(); });
  // A userspace switch reads from a device no more than it knows its MTU to be, and drops the rest.
  if (!host.open_vswitch) return;
  host.open_vswitch->vsctl(
      {"--timeout=10", "wait-until", "Interface", app.device, "mtu=" + std::to_string(mtu)});
}

void Fabric::apply_all() {
  for (auto& host : hosts_) host->apply().value();
}

void let_options_out(const App& app) {
  app.inside.shell("tc filter del dev eth0 egress");
}

void send_frame(const App& app, const std::string& frame) {
  app.inside.run([&] { send_frame_at("eth0", frame); });
}

void send_frame_at(const std::string& device, const std::string& frame) {
  UniqueFd fd(::socket(AF_PACKET, SOCK_RAW, 0));
  sockaddr_ll to{};
  to.sll_family = AF_PACKET;
  to.sll_ifindex = static_cast<int>(::if_nametoindex(device.c_str()));
  if (::sendto(fd.get(), frame.data(), frame.size(), 0, reinterpret_cast<sockaddr*>(&to),
               sizeof(to)) < 0) {
    fail("send_frame");
  }
}

Sniffer::Sniffer(const NetNamespace& inside, const std::string& device) {
  fd_ = inside.run([&] {
    UniqueFd fd(::socket(AF_PACKET, SOCK_RAW, 0));
    sockaddr_ll at{};
    at.sll_family = AF_PACKET;
    at.sll_protocol = htons(ETH_P_ALL);
    at.sll_ifindex = static_cast<int>(::if_nametoindex(device.c_str()));
    if (::bind(fd.get(), reinterpret_cast<sockaddr*>(&at), sizeof(at)) < 0) fail("bind");
    return fd;
  });
}

bool Sniffer::pending(const std::function<bool(const std::string&)>& wanted) {
  return next(wanted, 0).has_value();
}

std::optional<std::string> Sniffer::next(const std::function<bool(const std::string&)>& wanted,
                                         int milliseconds) {
  while (readable(fd_.get(), milliseconds)) {
    std::array<char, 65536> buffer;
    sockaddr_ll from{};
    socklen_t from_length = sizeof(from);
    const ssize_t length = ::recvfrom(fd_.get(), buffer.data(), buffer.size(), 0,
                                      reinterpret_cast<sockaddr*>(&from), &from_length);
    if (length < 0) fail("recvfrom");
    if (from.sll_pkttype == PACKET_OUTGOING) continue;
    std::string frame(buffer.data(), static_cast<std::size_t>(length));
    if (wanted(frame)) return frame;
  }
  return std::nullopt;
}

bool eventually(const std::function<bool()>& condition) {
  const auto deadline =
      std::chrono::steady_clock::now() + std::chrono::milliseconds(kPatienceMilliseconds);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::yield();
  }
  return true;
}

}  // namespace homeport::overlay
