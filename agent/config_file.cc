#include "agent/config_file.h"

#include "policy/near_matches.h"
#include "policy/text.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

namespace homeport::agent {

namespace {

std::string toml_string(std::string_view text) {
  std::string result = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') result += '\\';
    result += c;
  }
  return result + '"';
}

std::string toml_list(const std::vector<std::string>& values) {
  std::vector<std::string> items;
  for (const std::string& value : values) items.push_back(toml_string(value));
  return fmt::format("[{}]", fmt::join(items, ", "));
}

}  // namespace

ConfigReader::ConfigReader(const toml::table& root, std::string source)
    : root_(root), source_(std::move(source)) {}

void ConfigReader::section(std::string_view name) {
  Section section{std::string(name), &root_};
  if (!name.empty()) {
    const toml::node* node = root_.get(name);
    section.table = node ? node->as_table() : nullptr;
    if (node && !section.table) {
      say(node->source(), section.name, fmt::format("must be a section, [{}]", name));
    }
  }
  sections_.push_back(std::move(section));
}

std::string ConfigReader::full(std::string_view key) const {
  const std::string& name = sections_.back().name;
  return name.empty() ? std::string(key) : fmt::format("{}.{}", name, key);
}

void ConfigReader::say(const toml::source_region& where, const std::string& key,
                       std::string_view what) {
  problems_.emplace_back(where.begin.line,
                         fmt::format("{}:{}: {}: {}", source_, where.begin.line,
                                     policy::printable(key), policy::printable(what)));
}

const toml::node* ConfigReader::find(std::string_view key) {
  sections_.back().keys.push_back(key);
  return sections_.back().table ? sections_.back().table->get(key) : nullptr;
}

void ConfigReader::required(std::string_view key) {
  const toml::table* table = sections_.back().table;
  if (table && table->contains(key)) return;
  problems_.emplace_back(0, fmt::format("{}: {} is missing", source_, full(key)));
}

void ConfigReader::text(std::string_view key, std::string& value, const ConfigCheck& check) {
  const toml::node* node = find(key);
  if (!node) return;
  auto found = node->value_exact<std::string>();
  if (!found) {
    say(node->source(), full(key), "must be a string in quotes");
  } else if (std::string wrong = check ? check(*found) : ""; !wrong.empty()) {
    say(node->source(), full(key), wrong);
  } else {
    value = *found;
  }
}

void ConfigReader::path(std::string_view key, std::filesystem::path& value, bool may_be_empty) {
  std::string found = value.string();
  text(key, found, [&](const std::string& text) {
    bool good = text.starts_with('/') || (may_be_empty && text.empty());
    return good ? "" : "must be an absolute path";
  });
  value = found;
}

std::int64_t ConfigReader::whole(std::string_view key, std::int64_t value, std::int64_t least,
                                 std::int64_t most) {
  const toml::node* node = find(key);
  if (!node) return value;
  auto found = node->value_exact<std::int64_t>();
  if (found && *found >= least && *found <= most) return *found;
  say(node->source(), full(key), fmt::format("must be a whole number from {} to {}", least, most));
  return value;
}

void ConfigReader::flag(std::string_view key, bool& value) {
  const toml::node* node = find(key);
  if (!node) return;
  auto found = node->value_exact<bool>();
  if (found) {
    value = *found;
  } else {
    say(node->source(), full(key), "must be true or false");
  }
}

void ConfigReader::seconds(std::string_view key, std::chrono::milliseconds& value, double least,
                           double most) {
  const toml::node* node = find(key);
  if (!node) return;
  auto found = node->is_number() ? node->value<double>() : std::nullopt;
  if (!found || !(*found >= least && *found <= most)) {
    say(node->source(), full(key),
        fmt::format("must be a number of seconds from {} to {}", least, most));
    return;
  }
  value = std::chrono::milliseconds(static_cast<std::int64_t>(*found * 1000));
}

void ConfigReader::address(std::string_view key, policy::IpAddress& value) {
  std::string ignored;
  text(key, ignored, [&](const std::string& found) {
    boost::system::error_code error;
    value = boost::asio::ip::make_address(found, error);
    bool good = !error && !value.is_unspecified() && !value.is_multicast();
    return good ? "" : fmt::format("\"{}\" is not an address of a host", found);
  });
}

void ConfigReader::texts(std::string_view key, std::vector<std::string>& values,
                         const ConfigCheck& check, bool may_be_empty) {
  const toml::node* node = find(key);
  if (!node) return;
  const toml::array* list = node->as_array();
  const bool empty = list && list->empty();
  if (!list || (empty ? !may_be_empty : !list->is_homogeneous<std::string>())) {
    say(node->source(), full(key), "must be a list of strings");
    return;
  }
  values.clear();
  for (const toml::node& item : *list) {
    values.push_back(item.value<std::string>().value());
    std::string wrong = check(values.back());
    if (!wrong.empty()) say(item.source(), full(key), wrong);
  }
}

void ConfigReader::endpoints(std::string_view key, Endpoints& values) {
  std::vector<std::string> found;
  texts(key, found, [&](const std::string& item) -> std::string {
    auto endpoint = policy::parse_endpoint(item);
    if (!endpoint || endpoint->address().is_unspecified() || endpoint->address().is_multicast()) {
      return fmt::format(
          "\"{}\" is not an address of this host and a port, such as "
          "192.0.2.1:6710 or [2001:db8::1]:6710",
          item);
    }
    values.push_back(*endpoint);
    return "";
  });
}

void ConfigReader::choice(std::string_view key, std::string& value,
                          std::initializer_list<std::string_view> choices) {
  text(key, value, [&](const std::string& found) {
    const bool good = std::find(choices.begin(), choices.end(), found) != choices.end();
    return good ? "" : fmt::format("must be one of {}", fmt::join(choices, ", "));
  });
}

void ConfigReader::find_strangers(const Section& section) {
  if (!section.table) return;
  std::vector<std::string_view> known = section.keys;
  if (section.name.empty()) {
    for (const Section& other : sections_) {
      if (!other.name.empty()) known.push_back(other.name);
    }
  }
  for (const auto& [key, node] : *section.table) {
    if (std::ranges::find(known, key.str()) != known.end()) continue;
    const auto near = policy::near_matches(key.str(), {known.begin(), known.end()});
    const std::string name = section.name.empty() ? std::string(key.str())
                                                  : fmt::format("{}.{}", section.name, key.str());
    say(key.source(), name,
        fmt::format("no such key; {}known are {}",
                    near.empty() ? "" : fmt::format("did you mean {}? ", near.front()),
                    fmt::join(known, ", ")));
  }
}

std::vector<std::string> ConfigReader::problems() {
  for (const Section& section : sections_) find_strangers(section);
  std::ranges::stable_sort(problems_, {}, [](const auto& problem) { return problem.first; });
  std::vector<std::string> sentences;
  for (auto& [line, sentence] : problems_) sentences.push_back(std::move(sentence));
  problems_.clear();
  return sentences;
}

void ConfigWriter::line(std::string_view key, std::string_view value) {
  text_ += fmt::format("{} = {}\n", key, value);
}

void ConfigWriter::section(std::string_view name) {
  if (!name.empty()) text_ += fmt::format("\n[{}]\n", name);
}

void ConfigWriter::text(std::string_view key, const std::string& value, const ConfigCheck&) {
  line(key, toml_string(value));
}

void ConfigWriter::path(std::string_view key, const std::filesystem::path& value, bool) {
  line(key, toml_string(value.string()));
}

void ConfigWriter::seconds(std::string_view key, std::chrono::milliseconds value, double, double) {
  line(key, fmt::format("{}", static_cast<double>(value.count()) / 1000));
}

void ConfigWriter::address(std::string_view key, const policy::IpAddress& value) {
  line(key, toml_string(value.to_string()));
}

void ConfigWriter::texts(std::string_view key, const std::vector<std::string>& values,
                         const ConfigCheck&, bool) {
  line(key, toml_list(values));
}

void ConfigWriter::endpoints(std::string_view key, const Endpoints& values) {
  std::vector<std::string> items;
  for (const policy::Endpoint& endpoint : values) items.push_back(policy::to_string(endpoint));
  line(key, toml_list(items));
}

void ConfigWriter::choice(std::string_view key, const std::string& value,
                          std::initializer_list<std::string_view>) {
  line(key, toml_string(value));
}

}  // namespace homeport::agent
