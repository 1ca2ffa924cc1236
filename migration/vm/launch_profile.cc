#include "migration/vm/launch_profile.h"

#include "overlay/read_file.h"

#include <fmt/format.h>
#include <toml++/toml.h>

#include <algorithm>
#include <charconv>
#include <functional>
#include <iterator>
#include <optional>

namespace homeport::migration {

namespace errc = boost::system::errc;
using policy::Error;
using policy::make_error;
using policy::Result;

namespace {

/// Replaces a placeholder's name by its text.
using Resolve = std::function<Result<std::string>(std::string_view placeholder)>;

constexpr std::string_view kPlaceholders =
    "{name}, {memory_path}, {memory_mib}, {vcpus}, {qmp}, {runtime_dir}, {tap_fd}, {tap}, {mac}, "
    "{mtu}";

struct NicPlaceholder {
  std::string_view property;
  std::size_t index = 0;
};

/// "mac" is the first interface's, "mac.1" the second's.
std::optional<NicPlaceholder> nic_placeholder(std::string_view placeholder) {
  NicPlaceholder parsed{placeholder.substr(0, placeholder.find('.')), 0};
  constexpr std::string_view properties[] = {"tap_fd", "tap", "mac", "mtu"};
  if (std::ranges::find(properties, parsed.property) == std::end(properties)) return std::nullopt;
  if (parsed.property.size() < placeholder.size()) {
    std::string_view digits = placeholder.substr(parsed.property.size() + 1);
    auto [end, failed] =
        std::from_chars(digits.data(), digits.data() + digits.size(), parsed.index);
    if (failed != std::errc() || end != digits.data() + digits.size()) return std::nullopt;
  }
  return parsed;
}

bool is_vm_placeholder(std::string_view placeholder) {
  constexpr std::string_view known[] = {"name",  "memory_path", "memory_mib",
                                        "vcpus", "qmp",         "runtime_dir"};
  return std::ranges::find(known, placeholder) != std::end(known);
}

Result<std::string> substitute(std::string_view text, const Resolve& resolve) {
  std::string filled;
  while (!text.empty()) {
    std::size_t brace = text.find_first_of("{}");
    filled += text.substr(0, brace);
    if (brace == std::string_view::npos) break;
    text.remove_prefix(brace);
    if (text.size() > 1 && text[1] == text[0]) {  // "{{" or "}}"
      filled += text[0];
      text.remove_prefix(2);
      continue;
    }
    std::size_t end = text.find('}');
    if (text[0] == '}' || end == std::string_view::npos) {
      return make_error(errc::invalid_argument,
                        "a brace without its other half; write \"{{\" or \"}}\" for a brace");
    }
    auto value = resolve(text.substr(1, end - 1));
    if (!value) return value.error();
    filled += *value;
    text.remove_prefix(end + 1);
  }
  return filled;
}

Result<std::string> check_placeholder(std::string_view placeholder) {
  if (is_vm_placeholder(placeholder) || nic_placeholder(placeholder)) return std::string();
  return make_error(errc::invalid_argument, fmt::format("unknown placeholder {{{}}}; there are {}",
                                                        placeholder, kPlaceholders));
}

Result<std::string> nic_value(const NicPlaceholder& wanted, const LaunchValues& values) {
  if (wanted.index >= values.nics.size()) {
    return make_error(errc::invalid_argument,
                      fmt::format("the VM has {} network interface(s), none with number {}",
                                  values.nics.size(), wanted.index));
  }
  const LaunchNic& nic = values.nics[wanted.index];
  if (wanted.property == "tap") return nic.device;
  if (wanted.property == "mac") return nic.mac;
  if (wanted.property == "mtu") return std::to_string(nic.mtu);
  return std::to_string(nic.tap_fd);
}

/// The reader of one file: turns what is wrong with it into sentences with a line and a key.
class ProfileReader {
 public:
  ProfileReader(std::string name, const std::string& source) : source_(source) {
    profile_.name = std::move(name);
  }

  Result<LaunchProfile> read(const toml::table& table) {
    for (const auto& [key, node] : table) {
      auto taken = take(std::string(key.str()), node);
      if (!taken) return taken.error();
    }
    if (profile_.program.empty()) {
      return make_error(errc::invalid_argument,
                        fmt::format("{}: the key \"program\" is missing", source_));
    }
    return std::move(profile_);
  }

 private:
  Result<void> take(const std::string& key, const toml::node& node) {
    if (key == "program") {
      std::string program;
      if (auto read = text(key, node, program); !read) return read;
      profile_.program = program;
      if (!profile_.program.is_absolute()) return wrong(key, node, "must be an absolute path");
      return {};
    }
    if (key == "user") return text(key, node, profile_.user);
    if (key == "group") return text(key, node, profile_.group);
    if (key == "args") return arguments(key, node);
    if (key == "environment") return environment(key, node);
    return wrong(key, node,
                 "is not a key of a launch profile; there are program, args, user, group, "
                 "environment");
  }

  Result<void> text(const std::string& key, const toml::node& node, std::string& into) {
    auto value = node.value_exact<std::string>();
    if (!value || value->empty()) return wrong(key, node, "must be a string that is not empty");
    if (value->find('\0') != std::string::npos) return wrong(key, node, "contains a NUL");
    into = std::move(*value);
    return {};
  }

  Result<void> arguments(const std::string& key, const toml::node& node) {
    const toml::array* array = node.as_array();
    if (!array) return wrong(key, node, "must be an array of strings");
    for (const toml::node& element : *array) {
      std::string argument;
      std::string place = fmt::format("{}[{}]", key, profile_.arguments.size());
      if (auto read = text(place, element, argument); !read) return read;
      if (auto checked = substitute(argument, check_placeholder); !checked) {
        return wrong(place, element, checked.error().message);
      }
      profile_.arguments.push_back(std::move(argument));
    }
    return {};
  }

  Result<void> environment(const std::string& key, const toml::node& node) {
    const toml::table* table = node.as_table();
    if (!table) return wrong(key, node, "must be a table of strings");
    for (const auto& [variable, value] : *table) {
      std::string name(variable.str());
      if (name.empty() || name.find_first_of(std::string_view("=\0", 2)) != std::string::npos) {
        return wrong(key + "." + name, value, "is not a variable's name");
      }
      if (auto read = text(key + "." + name, value, profile_.environment[name]); !read) return read;
    }
    return {};
  }

  Error wrong(const std::string& key, const toml::node& node, std::string_view problem) const {
    return make_error(errc::invalid_argument, fmt::format("{}, line {}: \"{}\": {}", source_,
                                                          node.source().begin.line, key, problem));
  }

  const std::string& source_;
  LaunchProfile profile_;
};

}  // namespace

bool is_plain_name(std::string_view name) {
  auto plain = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '-' || c == '_';
  };
  return !name.empty() && name.size() <= 64 && name.front() != '.' && name.front() != '-' &&
         std::ranges::all_of(name, plain);
}

Result<LaunchProfile> parse_launch_profile(std::string_view text, std::string name,
                                           const std::string& source) {
  try {
    toml::table table = toml::parse(text);
    return ProfileReader(std::move(name), source).read(table);
  } catch (const toml::parse_error& error) {
    return make_error(
        errc::invalid_argument,
        fmt::format("{}, line {}: {}", source, error.source().begin.line, error.description()));
  }
}

Result<LaunchProfile> load_launch_profile(const std::filesystem::path& directory,
                                          const std::string& name) {
  if (!is_plain_name(name)) {
    return make_error(errc::invalid_argument,
                      fmt::format("\"{}\" is not a launch profile's name: use letters, digits, "
                                  "'.', '-' and '_'",
                                  name));
  }
  std::filesystem::path path = directory / (name + ".toml");
  auto text = overlay::read_file(path, "the launch profile");
  if (!text) return text.error();
  return parse_launch_profile(*text, name, path.string());
}

Result<std::vector<std::string>> expand(const LaunchProfile& profile, const LaunchValues& values) {
  auto resolve = [&values](std::string_view placeholder) -> Result<std::string> {
    if (placeholder == "name") return values.name;
    if (placeholder == "memory_path") return values.memory_path.string();
    if (placeholder == "memory_mib") return std::to_string(values.memory_mib);
    if (placeholder == "vcpus") return std::to_string(values.vcpus);
    if (placeholder == "qmp") return values.qmp.string();
    if (placeholder == "runtime_dir") return values.runtime_dir.string();
    if (auto nic = nic_placeholder(placeholder)) return nic_value(*nic, values);
    return check_placeholder(placeholder);
  };
  std::vector<std::string> expanded;
  for (std::size_t i = 0; i < profile.arguments.size(); ++i) {
    auto argument = substitute(profile.arguments[i], resolve);
    if (!argument) {
      return make_error(errc::invalid_argument,
                        fmt::format("launch profile \"{}\", args[{}] \"{}\": {}", profile.name, i,
                                    profile.arguments[i], argument.error().message));
    }
    expanded.push_back(std::move(*argument));
  }
  return expanded;
}

}  // namespace homeport::migration
