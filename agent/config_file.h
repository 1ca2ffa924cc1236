// The two ways over the keys of the configuration: reading their values from TOML, and writing
// them. Both are given every key in turn, so that no list of keys is kept beside.
#pragma once

#include "policy/address.h"

#include <toml++/toml.h>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <initializer_list>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace homeport::agent {

/// What is wrong with a value; empty if nothing is.
using ConfigCheck = std::function<std::string(const std::string&)>;
using Endpoints = std::vector<policy::Endpoint>;

/// Takes values out of a file, and notes everything that is wrong with it.
class ConfigReader {
 public:
  /// `source` names the file in problems.
  ConfigReader(const toml::table& root, std::string source);

  /// The keys that follow are in [name]; "" for those above all sections.
  void section(std::string_view name);
  void required(std::string_view key);
  void text(std::string_view key, std::string& value, const ConfigCheck& check = {});
  void path(std::string_view key, std::filesystem::path& value, bool may_be_empty = false);
  template <class Number>
  void number(std::string_view key, Number& value, std::int64_t least, std::int64_t most) {
    value = static_cast<Number>(whole(key, static_cast<std::int64_t>(value), least, most));
  }
  void flag(std::string_view key, bool& value);
  void seconds(std::string_view key, std::chrono::milliseconds& value, double least, double most);
  void address(std::string_view key, policy::IpAddress& value);
  void texts(std::string_view key, std::vector<std::string>& values, const ConfigCheck& check,
             bool may_be_empty = false);
  void endpoints(std::string_view key, Endpoints& values);
  void choice(std::string_view key, std::string& value,
              std::initializer_list<std::string_view> choices);

  /// After the last key: one sentence a problem, in the order of the lines. Keys that no call above
  /// has named are problems too.
  std::vector<std::string> problems();

 private:
  struct Section {
    std::string name;
    const toml::table* table = nullptr;  ///< none in the file
    std::vector<std::string_view> keys{};
  };

  const toml::node* find(std::string_view key);
  std::int64_t whole(std::string_view key, std::int64_t value, std::int64_t least,
                     std::int64_t most);
  std::string full(std::string_view key) const;
  void say(const toml::source_region& where, const std::string& key, std::string_view what);
  void find_strangers(const Section& section);

  const toml::table& root_;
  const std::string source_;
  std::vector<Section> sections_;
  std::vector<std::pair<std::uint32_t, std::string>> problems_;  ///< by line, 0 for none
};

/// Writes values as a file that ConfigReader takes.
class ConfigWriter {
 public:
  void section(std::string_view name);
  void required(std::string_view) {}
  void text(std::string_view key, const std::string& value, const ConfigCheck& = {});
  void path(std::string_view key, const std::filesystem::path& value, bool = false);
  template <class Number>
  void number(std::string_view key, Number value, std::int64_t, std::int64_t) {
    line(key, std::to_string(value));
  }
  void flag(std::string_view key, bool value) { line(key, value ? "true" : "false"); }
  void seconds(std::string_view key, std::chrono::milliseconds value, double, double);
  void address(std::string_view key, const policy::IpAddress& value);
  void texts(std::string_view key, const std::vector<std::string>& values, const ConfigCheck&,
             bool = false);
  void endpoints(std::string_view key, const Endpoints& values);
  void choice(std::string_view key, const std::string& value,
              std::initializer_list<std::string_view>);

  std::string take() { return std::move(text_); }

 private:
  void line(std::string_view key, std::string_view value);
  std::string text_;
};

}  // namespace homeport::agent
