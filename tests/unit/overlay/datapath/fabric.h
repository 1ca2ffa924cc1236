// Hosts joined by one underlay network, and applications on them: everything in network
// namespaces of the test's own, with the real datapaths, VXLAN and veth devices, and on hosts of
// that kind a real Open vSwitch.
#pragma once

#include "overlay/datapath/ebpf_datapath.h"
#include "overlay/datapath/ovs_datapath.h"
#include "overlay/link/tap.h"
#include "tests/unit/overlay/link/devices.h"
#include "tests/unit/overlay/link/net_namespace.h"
#include "tests/unit/overlay/vswitch/test_switch.h"

#include <gtest/gtest.h>
#include <boost/asio/ip/udp.hpp>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

namespace homeport::overlay {

/// A BPF file system in a mount namespace of the test program's own. Made before any thread.
class BpfFileSystem {
 public:
  BpfFileSystem();
  ~BpfFileSystem();
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

enum class Underlay { v4, v6 };
enum class Kind { ebpf, ovs };

/// Which datapath each host has, over which underlay.
struct Fleet {
  std::string name;
  Underlay underlay = Underlay::v4;
  std::vector<Kind> hosts;

  bool has(Kind kind) const { return std::find(hosts.begin(), hosts.end(), kind) != hosts.end(); }
};
/// What every datapath and every mix of them is tried with: three hosts, of which tests make the
/// second the former home of an application and the third its new one.
const std::vector<Fleet>& fleets();
inline std::ostream& operator<<(std::ostream& out, const Fleet& fleet) {
  return out << fleet.name;
}
inline std::string fleet_name(const testing::TestParamInfo<Fleet>& info) {
  return info.param.name;
}

inline constexpr policy::Vni kVni = 42;
inline constexpr std::uint32_t kUnderlayMtu = 1500;
inline constexpr std::uint16_t kUdpPort = 8472;

/// A UDP socket in an application's namespace, whose receive() waits 5 s at most.
class Socket {
 public:
  Socket(const NetNamespace& inside, bool v6);
  std::uint16_t port() const { return port_; }
  /// From `source`, an address of the namespace, when given.
  void send(const policy::IpAddress& to, std::uint16_t port, const std::string& data,
            const std::optional<policy::IpAddress>& source = std::nullopt);
  /// From then on only what comes from there is received.
  void connect(const policy::IpAddress& to, std::uint16_t port);
  void send(const std::string& data);
  /// nullopt when nothing came in time.
  std::optional<std::string> receive();
  struct Received {
    std::string data;
    boost::asio::ip::udp::endpoint from;
  };
  std::optional<Received> receive_from();
  /// Whether a datagram is there now.
  bool pending() const;
  int fd() const { return fd_.get(); }

 private:
  UniqueFd fd_;
  std::uint16_t port_ = 0;
};

/// A container-style application: a namespace with eth0, whose other end is a port of the host.
struct App {
  int number = 0;
  NetNamespace inside;
  policy::MacAddress mac;
  policy::IpAddress v4, v6;
  std::string device;  ///< Of the host it was plugged into.

  std::vector<policy::IpAddress> ips() const { return {v4, v6}; }
};

struct Host {
  Kind kind = Kind::ebpf;
  NetNamespace inside;
  policy::IpAddress vtep;
  policy::IpAddress second;  ///< Another address of the same family, in a subnet of its own.
  EbpfOptions options;
  OvsOptions ovs_options;
  std::unique_ptr<test::TestSwitch> open_vswitch;  ///< Of hosts of that kind.
  std::unique_ptr<Datapath> datapath;
  DesiredState desired;

  Result<void> apply() {
    return inside.run([&] { return datapath->apply(desired); });
  }
  Result<DesiredState> read_back() {
    return inside.run([&] { return datapath->read_back(); });
  }
  /// What it finds wrong is for apply() to say.
  bool untouched() {
    return inside.run([&] {
      auto untouched = datapath->untouched();
      return untouched && *untouched;
    });
  }
  Result<void> set_address(const AddressEntry& entry) {
    return inside.run([&] { return datapath->set_address(entry); });
  }
  Result<void> set_path(const PathEntry& entry) {
    return inside.run([&] { return datapath->set_path(entry); });
  }
  /// A switch counts a little later than it forwards.
  TotalCounters totals() { return datapath->counters().value(); }
  PortCounters port(const App& app) {
    return inside.run([&] { return datapath->counters(app.device).value(); });
  }
  /// Returns when packets are handled by what is programmed now: a switch takes a moment.
  void settle();
  /// Throws the agent's part away and starts anew with what the kernel still has.
  void restart();
};

class Sniffer;

/// Counts the VXLAN packets that come out of a host, at the far end of its wire.
class Wire {
 public:
  Wire(const NetNamespace& inside, const std::string& device);
  std::uint64_t count();

 private:
  UniqueFd fd_;
  std::uint64_t count_ = 0;
};

/// `hosts` hosts and one application on each: application i has MAC 02:00:00:00:00:0i,
/// addresses 10.0.0.i and fd00::i, and is known to be on host i everywhere.
class Fabric {
 public:
  Fabric(const BpfFileSystem& bpf, const Fleet& fleet);
  Fabric(const BpfFileSystem& bpf, int hosts, Underlay underlay = Underlay::v4);

  Host& host(int number) { return *hosts_.at(number - 1); }
  App& app(int number) { return *apps_.at(number - 1); }

  /// Another application, plugged into that host; known nowhere yet.
  App& add_app(int host_number);
  /// The same as a port of that network, desired by all hosts.
  App& join(int host_number, policy::Vni vni = kVni);
  /// Where app is, seen from that host: its port, or the VTEP of its host.
  AddressEntry entry(const App& app, int seen_from, int located_at, policy::Generation g = 1);
  /// The same at a host that the application was at until just now.
  AddressEntry left(const App& app, int seen_from, int located_at, policy::Generation g = 1);
  /// The entry of the app in that host's desired state, which must have one.
  AddressEntry& desired_entry(int host_number, const App& app);
  /// Brings the device of an application's new home into place on another host, as a move does.
  Port held_port(const App& app, int host_number);
  void apply_all();
  /// Makes an application believe in that MTU, as one that takes no notice of the network would.
  void set_mtu(const App& app, int host_number, std::uint32_t mtu);
  /// Tells the switches the MAC addresses of the other hosts: a userspace datapath drops a packet
  /// to one that it does not know yet, and asks.
  void introduce_neighbors();
  /// Gives a host another interface at the underlay network, `device`, which is in no bridge of its
  /// switch, if it has one.
  void add_interface(int host_number, const std::string& device, const policy::IpAddress& address);
  /// Nothing gets to a host or from it any more, which does not know: its wire is cut beyond its
  /// own device.
  void unplug(int host_number);
  void plug_in(int host_number);
  /// The two do not reach each other any more, and everybody else as before; and back.
  void cut(int one, int other);
  void mend(int one, int other);
  /// Of all that comes out of a host.
  Sniffer sniffer(int host_number) const;
  /// Frames that host has put into the tunnel since it was made.
  std::uint64_t tunnelled(int host_number) { return wires_.at(host_number - 1)->count(); }
  /// No packet is copied for that any more: the kernel queues copies elsewhere than others, and so
  /// changes their order.
  void stop_counting() { wires_.clear(); }

 private:
  void add_host(Kind kind, std::filesystem::path pin_directory);
  void join_underlay(Host& host, const std::string& device);
  void plug(App& app, int host_number, const std::string& device);

  NetNamespace switch_;
  const Fleet fleet_;
  std::vector<std::unique_ptr<Host>> hosts_;
  std::vector<std::unique_ptr<Wire>> wires_;
  std::vector<std::unique_ptr<App>> apps_;
};

/// Of what has a hop-by-hop header, which is kept back otherwise: an application's kernel would
/// have reports of its groups counted beside what tests send.
void let_options_out(const App& app);

/// Sends one raw Ethernet frame from an application's eth0, or from a device of the caller's
/// namespace.
void send_frame(const App& app, const std::string& frame);
void send_frame_at(const std::string& device, const std::string& frame);

/// Sees every frame that reaches an application's eth0.
class Sniffer {
 public:
  explicit Sniffer(const NetNamespace& inside, const std::string& device = "eth0");
  /// The next frame that satisfies `wanted`; nullopt when none came in time.
  std::optional<std::string> next(const std::function<bool(const std::string&)>& wanted,
                                  int milliseconds = 5000);
  /// Whether such a frame has come by now. Those before it are gone.
  bool pending(const std::function<bool(const std::string&)>& wanted);

 private:
  UniqueFd fd_;
};

/// Whether the condition holds within 5 s.
bool eventually(const std::function<bool()>& condition);

}  // namespace homeport::overlay
