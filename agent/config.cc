#include "agent/config.h"

#include "agent/status/endpoint.h"
#include "overlay/channel/pki.h"
#include "overlay/read_file.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <toml++/toml.h>

#include <algorithm>
#include <charconv>
#include <functional>
#include <initializer_list>
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

/// What is wrong with a value; empty if nothing is.
using Check = std::function<std::string(const std::string&)>;

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

std::string check_status(const std::string& text) {
  auto endpoint = parse_status_endpoint(text);
  return endpoint ? "" : endpoint.error().message;
}

/// HOST and PORT of "HOST:PORT" or "[HOST]:PORT", brackets for IPv6 only.
std::optional<std::pair<std::string, std::uint16_t>> split_endpoint(std::string_view text) {
  const auto colon = text.rfind(':');
  if (colon == std::string_view::npos) return std::nullopt;
  std::string_view host = text.substr(0, colon);
  const std::string_view digits = text.substr(colon + 1);
  const bool brackets = host.starts_with('[') && host.ends_with(']');
  if (brackets) host = host.substr(1, host.size() - 2);
  if (host.empty() || brackets != (host.find(':') != std::string_view::npos)) return std::nullopt;
  std::uint16_t port = 0;
  auto [end, problem] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
  if (problem != std::errc{} || end != digits.data() + digits.size() || port == 0) {
    return std::nullopt;
  }
  return std::pair(std::string(host), port);
}

std::string check_remotes(const std::string& remotes) {
  for (std::size_t begin = 0; begin <= remotes.size();) {
    const std::size_t end = std::min(remotes.find(',', begin), remotes.size());
    const std::string_view remote = std::string_view(remotes).substr(begin, end - begin);
    begin = end + 1;
    const bool good = remote.starts_with("unix:/") ||
                      ((remote.starts_with("ssl:") || remote.starts_with("tcp:")) &&
                       split_endpoint(remote.substr(4)));
    if (!good) {
      return fmt::format("\"{}\" is not ssl:ADDRESS:PORT, tcp:ADDRESS:PORT or unix:/PATH", remote);
    }
  }
  return "";
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

  void text(std::string_view key, std::string& value, const Check& check = {}) {
    const toml::node* node = table_.get(key);
    if (!node) return;
    auto found = node->value_exact<std::string>();
    if (!found) {
      say(*node, key, "must be a string in quotes");
    } else if (std::string wrong = check ? check(*found) : ""; !wrong.empty()) {
      say(*node, key, wrong);
    } else {
      value = *found;
    }
  }

  void path(std::string_view key, std::filesystem::path& value, bool may_be_empty = false) {
    std::string found = value.string();
    text(key, found, [&](const std::string& text) {
      bool good = text.starts_with('/') || (may_be_empty && text.empty());
      return good ? "" : "must be an absolute path";
    });
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
    std::string text_found;
    text(key, text_found, [&](const std::string& found) {
      boost::system::error_code error;
      value = boost::asio::ip::make_address(found, error);
      bool good = !error && !value.is_unspecified() && !value.is_multicast();
      return good ? "" : fmt::format("\"{}\" is not an address of a host", found);
    });
  }

  void texts(std::string_view key, std::vector<std::string>& values, const Check& check) {
    const toml::node* node = table_.get(key);
    if (!node) return;
    const toml::array* list = node->as_array();
    if (!list || list->empty() || !list->is_homogeneous<std::string>()) {
      say(*node, key, "must be a list of strings");
      return;
    }
    values.clear();
    for (const toml::node& item : *list) {
      values.push_back(item.value<std::string>().value());
      if (std::string wrong = check(values.back()); !wrong.empty()) say(item, key, wrong);
    }
  }

  void endpoints(std::string_view key, std::vector<tcp::endpoint>& values) {
    std::vector<std::string> found;
    texts(key, found, [&](const std::string& item) -> std::string {
      boost::system::error_code error;
      auto halves = split_endpoint(item);
      auto address = boost::asio::ip::make_address(halves ? halves->first : "", error);
      if (error || address.is_unspecified() || address.is_multicast()) {
        return fmt::format(
            "\"{}\" is not an address of this host and a port, such as "
            "192.0.2.1:6710 or [2001:db8::1]:6710",
            item);
      }
      values.emplace_back(address, halves->second);
      return "";
    });
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
  top.text("host", config.host, check_host);
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
  database.text("remotes", config.database.remotes, check_remotes);
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
  underlay.text("vxlan_device", config.underlay.vxlan_device, check_device);
  underlay.number("vxlan_port", config.underlay.vxlan_port, 1, 65535);

  Reader listen = section("listen");
  listen.only({"control", "lanes", "status"});
  listen.endpoints("control", config.listen.control);
  listen.endpoints("lanes", config.listen.lanes);
  listen.texts("status", config.listen.status, check_status);
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
  auto text = overlay::read_file(file, "the configuration");
  if (!text) return text.error();
  return parse_config(*text, file.string());
}

}  // namespace homeport::agent
