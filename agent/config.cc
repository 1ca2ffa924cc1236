#include "agent/config.h"

#include "agent/config_file.h"
#include "agent/status/endpoint.h"
#include "overlay/channel/pki.h"
#include "overlay/read_file.h"
#include "policy/text.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <boost/algorithm/string/classification.hpp>
#include <boost/algorithm/string/split.hpp>

#include <algorithm>
#include <optional>

namespace homeport::agent {

namespace {

using policy::Result;

constexpr std::uint16_t kControlPort = 6710;
constexpr std::uint16_t kLanePort = 6711;

policy::Error bad(std::string message) {
  return policy::make_error(boost::system::errc::invalid_argument, std::move(message));
}

std::string check_host(const std::string& name) {
  if (overlay::pki::valid_host_name(name)) return "";
  return fmt::format("\"{}\" is not a host name: 1 to 63 letters, digits, '-', '_', '.'", name);
}

std::string check_device(const std::string& name) {
  // What the kernel's dev_valid_name() takes, less what would need quoting.
  bool good = !name.empty() && name.size() <= 15 && name != "." && name != ".." &&
              std::ranges::all_of(name, [](unsigned char c) {
                return c > ' ' && c < 0x7f && c != '/' && c != ':';
              });
  return good ? "" : fmt::format("\"{}\" is no name for a device: 1 to 15 characters", name);
}

/// Its other end has one letter more.
std::string check_host_device(const std::string& name) {
  if (name.size() == 15) return fmt::format("\"{}\" is too long: 1 to 14 characters", name);
  return check_device(name);
}

std::string check_status(const std::string& text) {
  auto endpoint = parse_status_endpoint(text);
  return endpoint ? "" : endpoint.error().message;
}

/// Every key of the file, with its section, its place in Config and what it may be.
template <class Visitor, class AnyConfig>
void visit_keys(Visitor& file, AnyConfig& config) {
  file.section("");
  file.required("host");
  file.text("host", config.host, check_host);
  file.choice("log_level", config.log_level, {"trace", "debug", "info", "warn", "error"});
  file.choice("log_format", config.log_format, {"text", "json"});

  file.section("database");
  file.text("remotes", config.database.remotes, check_remotes);
  file.seconds("probe_interval_s", config.database.probe_interval, 1, 600);

  file.section("tls");
  file.path("ca_certificate", config.tls.ca_certificate);
  file.path("certificate", config.tls.certificate);
  file.path("private_key", config.tls.private_key);

  file.section("underlay");
  file.required("vtep");
  file.address("vtep", config.underlay.vtep);
  file.texts("interfaces", config.underlay.interfaces, check_device, true);
  file.flag("relay", config.underlay.relay);
  file.text("vxlan_device", config.underlay.vxlan_device, check_device);
  file.text("host_device", config.underlay.host_device, check_host_device);
  file.number("vxlan_port", config.underlay.vxlan_port, 1, 65535);
  file.choice("receive", config.underlay.receive, {"fast", "filtered"});
  file.choice("send", config.underlay.send, {"fast", "filtered"});

  file.section("datapath");
  file.choice("kind", config.datapath.kind, {"ebpf", "ovs"});
  file.text("bridge", config.datapath.bridge, check_device);
  file.path("database", config.datapath.database);
  file.path("management", config.datapath.management, true);
  file.choice("datapath_type", config.datapath.datapath_type, {"system", "netdev"});

  file.section("listen");
  file.endpoints("control", config.listen.control);
  file.endpoints("lanes", config.listen.lanes);
  file.texts("status", config.listen.status, check_status);

  file.section("directories");
  file.path("state", config.directories.state);
  file.path("runtime", config.directories.runtime);
  file.path("memory", config.directories.memory);
  file.path("launch_profiles", config.directories.launch_profiles);
  file.path("bpf", config.directories.bpf);
  file.path("guest_cgroup", config.directories.guest_cgroup, true);

  file.section("limits");
  file.number("moves", config.limits.moves, 1, 64);
  file.seconds("dead_peer_s", config.limits.dead_peer, 1, 600);
}

std::vector<std::string> split(const std::string& remotes) {
  std::vector<std::string> each;
  return boost::algorithm::split(each, remotes, boost::algorithm::is_any_of(","));
}

/// No names of hosts: the Open vSwitch libraries are built without a resolver.
std::optional<policy::Endpoint> endpoint_of(std::string_view remote) {
  if (!remote.starts_with("ssl:") && !remote.starts_with("tcp:")) return std::nullopt;
  return policy::parse_endpoint(remote.substr(4));
}

}  // namespace

std::string check_remotes(const std::string& remotes) {
  for (const std::string& remote : split(remotes)) {
    if (!remote.starts_with("unix:/") && !endpoint_of(remote)) {
      return fmt::format("\"{}\" is not ssl:ADDRESS:PORT, tcp:ADDRESS:PORT or unix:/PATH", remote);
    }
  }
  return "";
}

std::set<policy::IpAddress> addresses_of(const std::string& remotes) {
  std::set<policy::IpAddress> addresses;
  for (const std::string& remote : split(remotes)) {
    if (auto endpoint = endpoint_of(remote)) addresses.insert(endpoint->address());
  }
  return addresses;
}

Result<Config> parse_config(std::string_view text, const std::string& source) {
  toml::table root;
  try {
    root = toml::parse(text, source);
  } catch (const toml::parse_error& error) {
    const toml::source_position& where = error.source().begin;
    return bad(fmt::format("{}:{}:{}: {}", source, where.line, where.column,
                           policy::printable(error.description())));
  }
  Config config;
  ConfigReader reader(root, source);
  visit_keys(reader, config);
  if (auto problems = reader.problems(); !problems.empty()) {
    return bad(fmt::format("{}", fmt::join(problems, "\n")));
  }
  if (config.listen.control.empty()) {
    config.listen.control.emplace_back(config.underlay.vtep, kControlPort);
  }
  if (config.listen.lanes.empty()) {
    config.listen.lanes.emplace_back(config.underlay.vtep, kLanePort);
  }
  return config;
}

std::string to_toml(const Config& config) {
  ConfigWriter writer;
  visit_keys(writer, config);
  return writer.take();
}

Result<Config> load_config(const std::filesystem::path& file) {
  auto text = overlay::read_file(file, "the configuration");
  if (!text) return text.error();
  return parse_config(*text, file.string());
}

}  // namespace homeport::agent
