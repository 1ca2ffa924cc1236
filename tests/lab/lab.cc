#include "tests/lab/lab.h"

#include <boost/json/parse.hpp>

#include <fmt/format.h>

#include "overlay/link/link.h"

#include "tests/lab/failure.h"
#include "tests/lab/programs.h"

namespace homeport::lab {
namespace fs = std::filesystem;
namespace {

/// TOML basic string.
std::string quoted(const std::string& text) {
  return "\"" + text + "\"";
}

std::string profile(const Command& arguments) {
  std::string toml = "program = \"/usr/bin/qemu-system-x86_64\"\nargs = [\n";
  for (const auto& argument : arguments) toml += "  " + quoted(argument) + ",\n";
  return toml + "]\n";
}

std::unique_ptr<Link> join(const Namespace& container, Host& host, const std::string& device,
                           const std::string& mac, const std::string& ipv4,
                           const std::string& ipv6) {
  // What fits the tunnel: underlay MTU - 70.
  auto link = std::make_unique<Link>(container, "eth0", host.inside(), device,
                                     LinkOptions{.rate_mbit = 0, .mtu = 1430});
  container.set_sysctl("net/ipv6/conf/eth0/accept_dad", "0");
  container.ip("link set eth0 address " + mac);
  container.ip("addr add " + ipv4 + "/24 dev eth0");
  container.ip("addr add " + ipv6 + "/64 dev eth0 nodad");
  return link;
}

std::vector<Lab*>& labs() {
  static std::vector<Lab*> labs;
  return labs;
}

std::function<void(Lab&)>& last_look() {
  static std::function<void(Lab&)> look;
  return look;
}

}  // namespace

const std::vector<Lab*>& Lab::alive() {
  return labs();
}

void Lab::before_end(std::function<void(Lab&)> look) {
  last_look() = std::move(look);
}

Command guest_arguments(const GuestOptions& guest, const GuestImage& image) {
  Command arguments = {"-nodefaults",
                       "-no-user-config",

                       "-machine",
                       "pc-i440fx-7.2,memory-backend=ram",
                       "-accel",
                       "tcg,thread=single,tb-size=64",
                       "-cpu",
                       "max",
                       "-smp",
                       "{vcpus}",
                       "-m",
                       "{memory_mib}M",
                       "-vga",
                       "none",
                       "-display",
                       "none",
                       "-chardev",
                       "file,id=console,path={runtime_dir}/console.log,append=on",
                       "-serial",
                       "chardev:console",
                       "-netdev",
                       "tap,id=net0,fd={tap_fd}",
                       "-device",
                       "virtio-net-pci,netdev=net0,mac={mac},host_mtu={mtu},romfile=" +
                           std::string(guest.offloads ? "" : ",csum=off,gso=off"),
                       "-kernel",
                       image.kernel.string(),
                       "-initrd",
                       image.initrd.string()};
  arguments.push_back("-object");
  arguments.push_back(
      "memory-backend-file,id=ram,size={memory_mib}M,mem-path={memory_path},share=" +
      std::string(guest.shared_memory ? "on" : "off"));
  arguments.push_back("-append");
  // The kernel's tests of its own cryptography are half of what it executes before its first
  // program runs.
  arguments.push_back("console=ttyS0 quiet panic=-1 cryptomgr.notests homeport.ipv4=" + guest.ipv4 +
                      "/24 homeport.ipv6=" + guest.ipv6 +
                      "/64 homeport.gateway4=10.1.0.254 homeport.gateway6=fd01::fe");
  if (!guest.disk.empty()) {
    arguments.push_back("-drive");
    arguments.push_back(
        "if=none,id=disk0,format=raw,readonly=on,cache=none,aio=threads,file=" +
        guest.disk.string() +
        (guest.disk_bytes_per_second == 0
             ? ""
             : ",throttling.bps-total=" + std::to_string(guest.disk_bytes_per_second)));
    arguments.push_back("-device");
    arguments.push_back("virtio-blk-pci,drive=disk0");
  }
  return arguments;
}

Lab::Lab(std::string name, unsigned database_servers) : name_(std::move(name)) {
  remove_abandoned_labs();
  directory_ = fs::temp_directory_path() / own_name(name_);
  // One that was kept is in the way of the next of that name.
  for (int i = 2; fs::exists(directory_); ++i) {
    directory_ = fs::temp_directory_path() / own_name(name_ + "-" + std::to_string(i));
  }
  fs::create_directories(directory_);
  cleanup_.add("directory " + directory_.string(), [this] {
    // Kept on request, to look into a failure.
    if (std::getenv("HOMEPORT_LAB_KEEP") == nullptr) fs::remove_all(directory_);
  });
  underlay_ = std::make_unique<Switch>(own_name("underlay"));
  second_underlay_ = std::make_unique<Switch>(own_name("underlay2"));
  third_underlay_ = std::make_unique<Switch>(own_name("underlay3"));
  management_ = std::make_unique<Switch>(own_name("mgmt"));
  database_ = std::make_unique<Database>(*management_, directory_ / "db", database_servers);
  labs().push_back(this);
}

Lab::~Lab() {
  if (last_look()) last_look()(*this);
  std::erase(labs(), this);
  // Order: watchers and clients, then hosts (agents, guests, mounts), then what they stood on.
  watches_.clear();
  client_link_.reset();
  client_.reset();
  container_links_.clear();
  containers_.clear();
  hosts_.clear();
  router_links_.clear();
  router_.reset();
  relay_.reset();
  database_.reset();
}

Host& Lab::add_host(const std::string& name, HostOptions options) {
  const auto number = static_cast<unsigned>(11 + hosts_.size());
  hosts_.push_back(std::make_unique<Host>(
      name, own_name(name), number, directory_,
      Host::Switches{*underlay_, *second_underlay_, *third_underlay_, *management_}, *database_,
      options));
  if (options.watch_taps) {
    watches_.push_back(std::make_unique<TapWatch>(hosts_.back()->inside(), taps_));
  }
  return *hosts_.back();
}

Relay& Lab::add_relay() {
  relay_ = std::make_unique<Relay>(*management_, directory_, *database_);
  return *relay_;
}

Host& Lab::host(const std::string& name) {
  for (auto& host : hosts_) {
    if (host->name() == name) return *host;
  }
  throw LabFailure("no host " + name);
}

std::vector<Host*> Lab::hosts() {
  std::vector<Host*> all;
  for (auto& host : hosts_) all.push_back(host.get());
  return all;
}

void Lab::route_underlays() {
  router_ = std::make_unique<Namespace>(own_name("router"));
  router_->set_sysctl("net/ipv4/ip_forward", "1");
  router_->set_sysctl("net/ipv6/conf/all/forwarding", "1");
  Switch* const switches[] = {underlay_.get(), second_underlay_.get(), third_underlay_.get()};
  for (unsigned i : {0u, 1u, 2u}) {
    const std::string device = "eth" + std::to_string(i);
    router_links_.push_back(
        std::make_unique<Link>(*router_, device, switches[i]->inside(), "router", LinkOptions{}));
    switches[i]->inside().ip("link set router master br0");
    router_->ip(fmt::format("addr add 172.31.{}.254/24 dev {}", i, device));
    router_->ip(fmt::format("addr add fd31:0:0:{}::fe/64 nodad dev {}", i, device));
  }
  for (auto& host : hosts_) {
    for (const auto& from : host->underlay_interfaces()) {
      for (unsigned to : {0u, 1u, 2u}) {
        if (to == from.underlay) continue;
        host->inside().ip(from.address.find(':') == std::string::npos
                              ? fmt::format("route add 172.31.{}.0/24 via 172.31.{}.254 dev {} "
                                            "metric {}",
                                            to, from.underlay, from.device, 1000 + from.underlay)
                              : fmt::format("-6 route add fd31:0:0:{}::/64 via fd31:0:0:{}::fe dev "
                                            "{} metric {}",
                                            to, from.underlay, from.device, 1000 + from.underlay));
      }
    }
  }
}

void Lab::complete_packets() {
  auto complete = [](const Namespace& inside) {
    inside.run([] { overlay::set_offloads_off("eth0").value(); });
  };
  for (auto& host : hosts_) complete(host->inside());
  for (auto& container : containers_) complete(*container);
  if (client_host_ != nullptr && client_host_->has_open_vswitch()) complete(*client_);
  for (auto& host : hosts_) {
    for (auto& other : hosts_) {
      if (other != host) host->learn_neighbor(other->underlay_address());
    }
  }
}

void Lab::start_agents() {
  for (auto& host : hosts_) {
    if (!host->agent_runs()) host->start_agent();
  }
  for (auto& host : hosts_) host->wait_ready();
}

void Lab::add_network(bool host_access) {
  homeport_checked(
      std::string("network add net1 --vni 100 --subnet 10.1.0.0/24 --subnet fd01::/64 --gateway "
                  "10.1.0.254 --gateway fd01::fe") +
      (host_access ? " --host-access" : ""));
}

const Namespace& Lab::add_client(Host& host) {
  client_ = std::make_unique<Namespace>(own_name("client"));
  client_host_ = &host;
  client_link_ = join(*client_, host, "cli0", "52:54:00:00:01:02", "10.1.0.2", "fd01::2");
  homeport_checked(
      "app add client --driver netdev --device cli0 --network net1 "
      "--mac 52:54:00:00:01:02 --ip 10.1.0.2 --ip fd01::2 --host " +
      host.name());
  return *client_;
}

const Namespace& Lab::add_container(const GuestOptions& application, Host& host) {
  containers_.push_back(
      std::make_unique<Namespace>(own_name(application.name + "-" + host.name())));
  container_links_.push_back(join(*containers_.back(), host, kContainerDevice, application.mac,
                                  application.ipv4, application.ipv6));
  return *containers_.back();
}

void Lab::add_container_application(const GuestOptions& application, Host& host) {
  homeport_checked("app add " + application.name + " --driver netdev --device " + kContainerDevice +
                   " --network net1 --mac " + application.mac + " --ip " + application.ipv4 +
                   " --ip " + application.ipv6 + " --host " + host.name());
}

void Lab::write_profile(const GuestOptions& guest, const std::string& name) {
  const std::string text = profile(guest_arguments(guest, prepare_guest_image()));
  for (auto& each : hosts_) write_text(each->profile_directory() / (name + ".toml"), text);
}

void Lab::add_guest(const GuestOptions& guest, Host& host) {
  write_profile(guest, guest.name);
  homeport_checked("app add " + guest.name + " --driver qemu --profile " + guest.name +
                   " --network net1 --mac " + guest.mac + " --ip " + guest.ipv4 + " --ip " +
                   guest.ipv6 + " --host " + host.name() + " --memory " +
                   std::to_string(guest.memory_mib) + " --vcpus 1");
  homeport_checked("app start " + guest.name + " --wait");
  GuestControl(client(), guest.ipv4).wait_ready(60s);
}

Command Lab::homeport_command(const std::string& arguments) const {
  Command command{homeport_program(), "--db", database_->local_remote()};
  for (auto& word : words(arguments)) command.push_back(std::move(word));
  return command;
}

CommandResult Lab::homeport(const std::string& arguments, Clock::duration timeout) {
  return run_command(homeport_command(arguments), {}, timeout);
}

std::string Lab::homeport_checked(const std::string& arguments, Clock::duration timeout) {
  return run_checked(homeport_command(arguments), {}, timeout);
}

boost::json::value Lab::homeport_json(const std::string& arguments, Clock::duration timeout) {
  return boost::json::parse(homeport_checked(arguments + " --json", timeout));
}

std::string Lab::location(const std::string& application) {
  const std::string query =
      R"(["Homeport",{"op":"select","table":"Binding","where":[["application","==",")" +
      application + R"("]],"columns":["location"]}])";
  const auto reply = boost::json::parse(
      run_checked({"ovsdb-client", "--no-headings", "query", database_->local_remote(), query}));
  const auto& rows = reply.as_array().at(0).as_object().at("rows").as_array();
  return rows.empty() ? std::string() : std::string(rows[0].at("location").as_string());
}

std::vector<std::string> Lab::complaints(const std::vector<std::string>& expected) {
  std::vector<std::string> all;
  for (auto& host : hosts_) {
    for (auto& line : host->complaints(expected)) all.push_back(std::move(line));
  }
  return all;
}

std::vector<std::string> Lab::leftovers() {
  std::vector<std::string> all;
  for (auto& host : hosts_) {
    for (auto& thing : host->leftovers()) all.push_back(std::move(thing));
  }
  return all;
}

}  // namespace homeport::lab
