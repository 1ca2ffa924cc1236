// What the overlay bench runs inside its namespaces: setting up the datapath of one host, both ends
// of a round-trip measurement, a flood of small frames and what takes them from a tap.
#include "overlay/datapath/ebpf_datapath.h"
#include "overlay/datapath/ovs_datapath.h"
#include "overlay/link/link.h"

#include <fmt/core.h>
#include <sys/socket.h>
#include <CLI/CLI.hpp>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ip/udp.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/write.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <memory>
#include <vector>

#include "tests/bench/overlay/flood.h"

namespace {

using namespace homeport;
using boost::asio::ip::make_address;
using boost::asio::ip::tcp;
using boost::asio::ip::udp;

constexpr policy::Vni kVni = 42;

struct HostArguments {
  std::string pins, open_vswitch;  ///< a directory of one or the other
  std::string vtep, peer_vtep;
  std::uint32_t underlay_mtu = 1500;
  std::string port, mac, remote_mac;
  std::vector<std::string> ips, remote_ips;
  std::uint32_t more_here = 0, more_remote = 0;  ///< addresses, from kMoreMac on
};

/// The MAC addresses of those from here on; their IP addresses are 10.1.0.0 and up.
const auto kMoreMac = policy::MacAddress::parse("02:00:01:00:00:00").value();

void add_more(std::vector<overlay::AddressEntry>& all, std::uint32_t count,
              const overlay::Location& location) {
  for (std::uint32_t i = 0; i < count; ++i) {
    const boost::asio::ip::address_v4 ip(0x0a010000 + i);
    all.push_back({kVni, bench::nth_mac(kMoreMac, i), {ip}, location, 1});
  }
}

std::vector<policy::IpAddress> addresses(const std::vector<std::string>& texts) {
  std::vector<policy::IpAddress> out;
  for (const std::string& text : texts) out.push_back(make_address(text));
  return out;
}

std::unique_ptr<overlay::Datapath> on_ebpf(const std::string& pins, const policy::IpAddress& vtep) {
  overlay::EbpfOptions options;
  options.pin_directory = pins;
  if (vtep.is_v4()) {
    options.local_vtep_v4 = vtep.to_v4();
  } else {
    options.local_vtep_v6 = vtep.to_v6();
  }
  return overlay::make_ebpf_datapath(options).value();
}

/// `directory`: of the sockets of ovs-vswitchd.
std::unique_ptr<overlay::Datapath> on_ovs(const std::string& directory,
                                          const policy::IpAddress& vtep) {
  overlay::OvsOptions options;
  options.bridge.database = "unix:" + directory + "/db.sock";
  options.bridge.management = "unix:" + directory + "/br-int.mgmt";
  options.bridge.datapath_type = "netdev";
  options.local_vtep = vtep;
  return overlay::make_ovs_datapath(options).value();
}

/// Sets up one host with one application, which knows one on another host. The datapath stays
/// when this process ends.
void set_up(const HostArguments& arguments) {
  const policy::IpAddress vtep = make_address(arguments.vtep);
  auto datapath = arguments.open_vswitch.empty() ? on_ebpf(arguments.pins, vtep)
                                                 : on_ovs(arguments.open_vswitch, vtep);
  const policy::IpAddress peer = make_address(arguments.peer_vtep);
  const auto mac = policy::MacAddress::parse(arguments.mac).value();
  const auto remote_mac = policy::MacAddress::parse(arguments.remote_mac).value();
  overlay::DesiredState state;
  state.networks = {{kVni, overlay::tunnel_mtu(arguments.underlay_mtu), {peer}}};
  state.ports = {{arguments.port, kVni, mac, false}};
  state.addresses = {
      {kVni, mac, addresses(arguments.ips), overlay::LocalPort{arguments.port}, 1},
      {kVni, remote_mac, addresses(arguments.remote_ips), overlay::RemoteHost{peer}, 1},
  };
  add_more(state.addresses, arguments.more_here, overlay::LocalPort{arguments.port});
  add_more(state.addresses, arguments.more_remote, overlay::RemoteHost{peer});
  state.vteps = {peer};
  datapath->apply(state).value();
}

/// Answers every datagram with itself, until it is killed. Prints its port first.
void serve(const std::string& address) {
  boost::asio::io_context io;
  udp::socket socket(io, udp::endpoint(make_address(address), 0));
  fmt::print("{}\n", socket.local_endpoint().port());
  std::fflush(stdout);
  std::array<char, 2048> buffer;
  udp::endpoint from;
  while (true) {
    const std::size_t length = socket.receive_from(boost::asio::buffer(buffer), from);
    socket.send_to(boost::asio::buffer(buffer, length), from);
  }
}

constexpr std::size_t kPingBytes = 64;

/// The same over TCP, for one connection after the other.
void serve_tcp(const std::string& address) {
  boost::asio::io_context io;
  tcp::acceptor acceptor(io, tcp::endpoint(make_address(address), 0));
  fmt::print("{}\n", acceptor.local_endpoint().port());
  std::fflush(stdout);
  std::array<char, kPingBytes> buffer;
  while (true) {
    tcp::socket socket = acceptor.accept();
    socket.set_option(tcp::no_delay(true));
    boost::system::error_code ended;
    while (!ended) {
      boost::asio::read(socket, boost::asio::buffer(buffer), ended);
      if (!ended) boost::asio::write(socket, boost::asio::buffer(buffer), ended);
    }
  }
}

/// Sends 64 bytes one after the other, each when those before have come back; prints the median
/// and the 99th percentile of the round trips, in microseconds. `socket` is connected.
void ping(int socket, const std::string& address, std::size_t count) {
  const timeval patience{.tv_sec = 5, .tv_usec = 0};
  ::setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
  std::array<char, kPingBytes> buffer{};
  std::vector<double> round_trips;
  const std::size_t warm_up = count / 10;
  for (std::size_t i = 0; i < warm_up + count; ++i) {
    const auto start = std::chrono::steady_clock::now();
    // Plain system calls: Asio's synchronous receive would wait for ever.
    if (::send(socket, buffer.data(), buffer.size(), 0) < 0 ||
        ::recv(socket, buffer.data(), buffer.size(), MSG_WAITALL) < 0) {
      throw std::system_error(errno, std::generic_category(), "no answer from " + address);
    }
    const std::chrono::duration<double, std::micro> taken =
        std::chrono::steady_clock::now() - start;
    if (i >= warm_up) round_trips.push_back(taken.count());
  }
  std::sort(round_trips.begin(), round_trips.end());
  fmt::print("{:.3f} {:.3f}\n", round_trips[count / 2], round_trips[count * 99 / 100]);
}

void ping(const std::string& address, std::uint16_t port, std::size_t count, bool over_tcp) {
  boost::asio::io_context io;
  if (over_tcp) {
    tcp::socket socket(io);
    socket.connect({make_address(address), port});
    socket.set_option(tcp::no_delay(true));
    return ping(socket.native_handle(), address, count);
  }
  udp::socket socket(io);
  socket.connect({make_address(address), port});
  ping(socket.native_handle(), address, count);
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Inside the overlay bench's namespaces");
  app.require_subcommand(1);

  HostArguments host;
  CLI::App* datapath = app.add_subcommand("datapath", "Set up the datapath of this namespace");
  auto* by = datapath->add_option_group("by", "What carries the frames");
  by->add_option("--pins", host.pins, "eBPF, pinned there");
  by->add_option("--open-vswitch", host.open_vswitch, "Open vSwitch with its sockets there");
  by->require_option(1);
  datapath->add_option("--vtep", host.vtep)->required();
  datapath->add_option("--peer-vtep", host.peer_vtep)->required();
  datapath->add_option("--underlay-mtu", host.underlay_mtu);
  datapath->add_option("--port", host.port)->required();
  datapath->add_option("--mac", host.mac)->required();
  datapath->add_option("--ip", host.ips)->required();
  datapath->add_option("--remote-mac", host.remote_mac)->required();
  datapath->add_option("--remote-ip", host.remote_ips)->required();
  datapath->add_option("--more-here", host.more_here, "So many addresses more at the port");
  datapath->add_option("--more-remote", host.more_remote, "So many more on the other host");

  std::string address;
  bool over_tcp = false;
  CLI::App* server = app.add_subcommand("serve", "Answer datagrams");
  server->add_option("address", address)->required();
  server->add_flag("--tcp", over_tcp, "What comes over TCP instead");

  std::uint16_t port = 0;
  std::size_t count = 10'000;
  CLI::App* client = app.add_subcommand("ping", "Measure round trips");
  client->add_option("address", address)->required();
  client->add_option("port", port)->required();
  client->add_option("--count", count)->check(CLI::Range(100, 1'000'000));
  client->add_flag("--tcp", over_tcp);

  bench::FloodOptions frames;
  std::string source_mac, destination_mac = kMoreMac.to_string();
  CLI::App* flood = app.add_subcommand("flood", "Send 64-byte frames as fast as possible");
  flood->add_option("device", frames.device)->required();
  flood->add_option("--source-mac", source_mac)->required();
  flood->add_option("--source-ip", frames.source_ip)->required();
  flood->add_option("--destination-mac", destination_mac, "The first; default: of --more-here");
  flood->add_option("--destination-ip", frames.destination_ip)->required();
  flood->add_option("--destinations", frames.destinations, "So many MAC addresses in turn")
      ->check(CLI::Range(1u, 1'000'000u));
  flood->add_option("--seconds", frames.seconds);
  flood->add_option("--cpu", frames.cpu);

  std::string incapable;
  CLI::App* offloads = app.add_subcommand("offloads-off", "Have a device send complete packets");
  offloads->add_option("device", incapable)->required();

  std::string tap;
  int tap_cpu = 0;
  CLI::App* drain = app.add_subcommand("drain-tap", "Take what arrives at a tap");
  drain->add_option("device", tap)->required();
  drain->add_option("--cpu", tap_cpu);

  CLI11_PARSE(app, argc, argv);
  try {
    if (*datapath) set_up(host);
    if (*server) over_tcp ? serve_tcp(address) : serve(address);
    if (*client) ping(address, port, count, over_tcp);
    if (*flood) {
      frames.source_mac = policy::MacAddress::parse(source_mac).value();
      frames.destination_mac = policy::MacAddress::parse(destination_mac).value();
      const bench::FloodResult result = bench::flood(frames);
      fmt::print("{} {} {}\n", result.sent, result.seconds, result.busy_seconds);
    }
    if (*offloads) overlay::set_offloads_off(incapable).value();
    if (*drain) bench::drain_tap(tap, tap_cpu);
  } catch (const std::exception& error) {
    fmt::print(stderr, "bench_node: {}\n", error.what());
    return 1;
  }
  return 0;
}
