// A whole fleet on one machine: switches, the control database, hosts with agents, a client.
#pragma once

#include <boost/json/value.hpp>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "tests/lab/cleanup.h"
#include "tests/lab/clients.h"
#include "tests/lab/database.h"
#include "tests/lab/guest.h"
#include "tests/lab/guest_image.h"
#include "tests/lab/host.h"
#include "tests/lab/network.h"
#include "tests/lab/tap_watch.h"

namespace homeport::lab {

/// An application of the lab and the addresses that stay with it; a VM, but for a fleet of
/// containers.
struct GuestOptions {
  std::string name = "vm1";
  std::string mac = "52:54:00:00:01:05";
  std::string ipv4 = "10.1.0.5";
  std::string ipv6 = "fd01::5";
  unsigned memory_mib = 256;
  std::filesystem::path disk;          ///< empty: diskless
  unsigned disk_bytes_per_second = 0;  ///< throttle of the disk, 0 for none
  bool shared_memory = true;           ///< false: a profile whose RAM cannot be captured
  bool offloads = true;                ///< false: its virtual card completes what it sends
};

/// The host's end of the veth pair of a container that may move.
inline constexpr char kContainerDevice[] = "app0";

/// QEMU's arguments for such a VM, with the placeholders of a launch profile.
Command guest_arguments(const GuestOptions& guest, const GuestImage& image);

/// A complaint of an agent that another connects to before it has heard of it from the database,
/// as when both have just begun: it is tried again.
inline constexpr char kNotKnownYet[] = "no host host. with a certificate";

/// One directory, one set of namespaces (own_name()), all gone with the object. What a lab
/// whose process was killed has left behind is removed when the next one is made.
class Lab {
 public:
  /// `database_servers`: more than one make a cluster.
  explicit Lab(std::string name, unsigned database_servers = 1);
  ~Lab();

  /// Those of this process.
  static const std::vector<Lab*>& alive();
  /// `look` is shown each lab while it is still whole.
  static void before_end(std::function<void(Lab&)> look);

  Host& add_host(const std::string& name, HostOptions options = {});
  Host& host(const std::string& name);
  /// Joins the underlays of one family by a router, and has every host go to each by each of its
  /// interfaces: first by its own.
  void route_underlays();
  std::vector<Host*> hosts();
  /// Has every device that is there now and that a userspace switch may read from the other end
  /// send whole packets with complete checksums, as a network card would: it sees nothing else of
  /// them. And has such switches learn where the other hosts are. After the agents' start.
  void complete_packets();
  /// Starts every agent that does not run and waits until all are ready.
  void start_agents();

  /// `homeport network add net1 ...`: VNI 100, 10.1.0.0/24, fd01::/64, with routers
  /// 10.1.0.254 and fd01::fe, and reached by the hosts' own processes if they are given access.
  void add_network(bool host_access = true);
  /// A container-style port: a namespace joined to `host` by a veth pair whose host end is the
  /// application's device. Returns the client's namespace.
  const Namespace& add_client(Host& host);
  /// The same for an application that may move: one of these on each host, with the same device and
  /// addresses, of which the network lets speak the one where the application is.
  const Namespace& add_container(const GuestOptions& application, Host& host);
  /// Adds the application of such containers, which is on `host`.
  void add_container_application(const GuestOptions& application, Host& host);
  /// Writes the launch profile of such a guest on every host, by that name.
  void write_profile(const GuestOptions& guest, const std::string& name);
  /// Writes the launch profile on every host, adds the application and starts it on `host`.
  void add_guest(const GuestOptions& guest, Host& host);

  /// The operator's command line, on the database's machine.
  CommandResult homeport(const std::string& arguments, Clock::duration timeout = 120s);
  std::string homeport_checked(const std::string& arguments, Clock::duration timeout = 120s);
  boost::json::value homeport_json(const std::string& arguments, Clock::duration timeout = 120s);
  Command homeport_command(const std::string& arguments) const;

  /// Where the control database says the application is.
  std::string location(const std::string& application);

  /// Warnings and errors in the agents' logs that match none of `expected`.
  std::vector<std::string> complaints(const std::vector<std::string>& expected = {});
  /// Everything left behind on any host; empty when clean.
  std::vector<std::string> leftovers();

  Database& database() { return *database_; }
  /// Makes a relay of the database; hosts may be told to reach it there.
  Relay& add_relay();
  const Namespace& client() const { return *client_; }
  TapRecord& taps() { return taps_; }
  const std::filesystem::path& directory() const { return directory_; }

 private:
  std::string name_;
  std::filesystem::path directory_;
  Cleanup cleanup_;
  std::unique_ptr<Switch> underlay_, second_underlay_, third_underlay_, management_;
  std::unique_ptr<Namespace> router_;
  std::vector<std::unique_ptr<Link>> router_links_;
  std::unique_ptr<Database> database_;
  std::unique_ptr<Relay> relay_;
  std::vector<std::unique_ptr<Host>> hosts_;
  std::unique_ptr<Namespace> client_;
  std::unique_ptr<Link> client_link_;
  const Host* client_host_ = nullptr;
  std::vector<std::unique_ptr<Namespace>> containers_;
  std::vector<std::unique_ptr<Link>> container_links_;
  TapRecord taps_;
  std::vector<std::unique_ptr<TapWatch>> watches_;
};

/// Ends what labs of processes that no longer exist have left: processes inside their namespaces,
/// the namespaces, mounts, control groups and directories.
void remove_abandoned_labs();

}  // namespace homeport::lab
