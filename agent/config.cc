#include "agent/config.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <toml++/toml.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <initializer_list>
#include <iterator>
#include <limits>
#include <optional>

namespace homeport::agent {

namespace {

using boost::asio::ip::tcp;
using policy::Result;

constexpr std::uint16_t kControlPort = 6710;
constexpr std::uint16_t kLanePort = 6711;

policy::Error bad(std::string message) {
  return policy::make_error(boost::system::errc::invalid_argument, std::move(message));
}

/// Reads one table of the file. The first thing that is wrong is kept; everything after it is
/// skipped, so that callers need not check after each key.
class Reader {
 public:
  Reader(const toml::table& table, std::string name, const std::string& source,
         std::string& problem)
      : table_(table), name_(std::move(name)), source_(source), problem_(problem) {}

  void only(std::initializer_list<std::string_view> keys) {
    for (const auto& [key, node] : table_) {
      if (std::find(keys.begin(), keys.end(), key.str()) == keys.end()) {
        say(node, key.str(), fmt::format("no such key; known are {}", fmt::join(keys, ", ")));
      }
    }
  }

  void required(std::string_view key) {
    if (!table_.contains(key) && problem_.empty()) {
      problem_ = fmt::format("{}: {} is missing", source_, full(key));
    }
  }

  void text(std::string_view key, std::string& value) {
    const toml::node* node = table_.get(key);
    if (!node) return;
    if (auto found = node->value_exact<std::string>()) {
      value = *found;
    } else {
      say(*node, key, "must be a string in quotes");
    }
  }

  void path(std::string_view key, std::filesystem::path& value, bool may_be_empty = false) {
    std::string found = value.string();
    text(key, found);
    if (const toml::node* node = table_.get(key);
        node && !found.starts_with('/') && !(may_be_empty && found.empty())) {
      say(*node, key, "must be an absolute path");
    }
    value = found;
  }

  template <class Number>
  void number(std::string_view key, Number& value, std::int64_t least, std::int64_t most) {
    const toml::node* node = table_.get(key);
    if (!node) return;
    auto found = node->value_exact<std::int64_t>();
    if (!found || *found < least || *found > most) {
      say(*node, key, fmt::format("must be a whole number from {} to {}", least, most));
      return;
    }
    value = static_cast<Number>(*found);
  }

  void seconds(std::string_view key, std::chrono::milliseconds& value, double least, double most) {
    const toml::node* node = table_.get(key);
    if (!node) return;
    auto found = node->value<double>();
    if (!found || !(*found >= least && *found <= most)) {
      say(*node, key, fmt::format("must be a number of seconds from {} to {}", least, most));
      return;
    }
    value = std::chrono::milliseconds(static_cast<std::int64_t>(*found * 1000));
  }

  void address(std::string_view key, policy::IpAddress& value) {
    std::string found;
    text(key, found);
    const toml::node* node = table_.get(key);
    if (!node) return;
    boost::system::error_code error;
    value = boost::asio::ip::make_address(found, error);
    if (error || value.is_unspecified() || value.is_multicast()) {
      say(*node, key, fmt::format("\"{}\" is not an address of a host", found));
    }
  }

  void texts(std::string_view key, std::vector<std::string>& values) {
    const toml::node* node = table_.get(key);
    if (!node) return;
    const toml::array* list = node->as_array();
    if (!list || list->empty() || !list->is_homogeneous<std::string>()) {
      say(*node, key, "must be a list of strings");
      return;
    }
    values.clear();
    for (const toml::node& item : *list) values.push_back(item.value<std::string>().value());
  }

  void endpoints(std::string_view key, std::vector<tcp::endpoint>& values) {
    std::vector<std::string> found;
    texts(key, found);
    for (const std::string& item : found) {
      auto endpoint = parse(item);
      if (!endpoint) {
        say(*table_.get(key), key,
            fmt::format("\"{}\" is not an address and port, such as 192.0.2.1:6710 or "
                        "[2001:db8::1]:6710",
                        item));
        return;
      }
      values.push_back(*endpoint);
    }
  }

  void choice(std::string_view key, std::string& value,
              std::initializer_list<std::string_view> choices) {
    text(key, value);
    if (const toml::node* node = table_.get(key);
        node && std::find(choices.begin(), choices.end(), value) == choices.end()) {
      say(*node, key, fmt::format("must be one of {}", fmt::join(choices, ", ")));
    }
  }

  void say(const toml::node& node, std::string_view key, std::string_view what) {
    if (!problem_.empty()) return;
    problem_ = fmt::format("{}:{}: {}: {}", source_, node.source().begin.line, full(key), what);
  }

 private:
  std::string full(std::string_view key) const {
    return name_.empty() ? std::string(key) : fmt::format("{}.{}", name_, key);
  }

  static std::optional<tcp::endpoint> parse(std::string_view text) {
    const auto colon = text.rfind(':');
    if (colon == std::string_view::npos) return std::nullopt;
    std::string_view host = text.substr(0, colon);
    const std::string_view digits = text.substr(colon + 1);
    const bool brackets = host.starts_with('[') && host.ends_with(']');
    if (brackets) host = host.substr(1, host.size() - 2);
    boost::system::error_code error;
    auto address = boost::asio::ip::make_address(std::string(host), error);
    if (error || address.is_v6() != brackets) return std::nullopt;
    unsigned port = 0;
    auto [end, problem] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
    if (problem != std::errc{} || end != digits.data() + digits.size() || port == 0 ||
        port > std::numeric_limits<std::uint16_t>::max()) {
      return std::nullopt;
    }
    return tcp::endpoint(address, static_cast<std::uint16_t>(port));
  }

  const toml::table& table_;
  std::string name_;
  const std::string& source_;
  std::string& problem_;
};

}  // namespace

Result<Config> parse_config(std::string_view text, const std::string& source) {
  toml::table root;
  try {
    root = toml::parse(text, source);
  } catch (const toml::parse_error& error) {
    return bad(fmt::format("{}:{}: {}", source, error.source().begin.line,
                           std::string(error.description())));
  }
  Config config;
  std::string problem;
  const toml::table none;
  Reader top(root, "", source, problem);
  top.only({"host", "log_level", "database", "tls", "underlay", "listen", "directories", "limits"});
  top.required("host");
  top.text("host", config.host);
  top.choice("log_level", config.log_level, {"trace", "debug", "info", "warn", "error"});

  auto section = [&](std::string_view name) {
    const toml::node* node = root.get(name);
    if (node && !node->is_table())
      top.say(*node, name, "must be a section, [" + std::string(name) + "]");
    return Reader(node && node->is_table() ? *node->as_table() : none, std::string(name), source,
                  problem);
  };
  Reader database = section("database");
  database.only({"remotes", "probe_interval_s"});
  database.text("remotes", config.database.remotes);
  database.seconds("probe_interval_s", config.database.probe_interval, 1, 600);

  Reader tls = section("tls");
  tls.only({"ca_certificate", "certificate", "private_key"});
  tls.path("ca_certificate", config.tls.ca_certificate);
  tls.path("certificate", config.tls.certificate);
  tls.path("private_key", config.tls.private_key);

  Reader underlay = section("underlay");
  underlay.only({"vtep", "vxlan_device", "vxlan_port"});
  underlay.required("vtep");
  underlay.address("vtep", config.underlay.vtep);
  underlay.text("vxlan_device", config.underlay.vxlan_device);
  underlay.number("vxlan_port", config.underlay.vxlan_port, 1, 65535);
  if (config.underlay.vxlan_device.empty() || config.underlay.vxlan_device.size() > 15) {
    underlay.say(root, "vxlan_device", "must have 1 to 15 characters");
  }

  Reader listen = section("listen");
  listen.only({"control", "lanes", "status"});
  listen.endpoints("control", config.listen.control);
  listen.endpoints("lanes", config.listen.lanes);
  listen.texts("status", config.listen.status);
  if (config.listen.control.empty()) {
    config.listen.control.emplace_back(config.underlay.vtep, kControlPort);
  }
  if (config.listen.lanes.empty()) {
    config.listen.lanes.emplace_back(config.underlay.vtep, kLanePort);
  }

  Reader directories = section("directories");
  directories.only({"state", "runtime", "memory", "launch_profiles", "bpf", "guest_cgroup"});
  directories.path("state", config.directories.state);
  directories.path("runtime", config.directories.runtime);
  directories.path("memory", config.directories.memory);
  directories.path("launch_profiles", config.directories.launch_profiles);
  directories.path("bpf", config.directories.bpf);
  directories.path("guest_cgroup", config.directories.guest_cgroup, true);

  Reader limits = section("limits");
  limits.only({"moves", "dead_peer_s"});
  limits.number("moves", config.limits.moves, 1, 64);
  limits.seconds("dead_peer_s", config.limits.dead_peer, 1, 600);

  if (!problem.empty()) return bad(problem);
  return config;
}

Result<Config> load_config(const std::filesystem::path& file) {
  std::ifstream stream(file);
  if (!stream) {
    return policy::errno_error(fmt::format("cannot read the configuration {}", file.string()));
  }
  const std::string text{std::istreambuf_iterator<char>(stream), {}};
  return parse_config(text, file.string());
}

}  // namespace homeport::agent
