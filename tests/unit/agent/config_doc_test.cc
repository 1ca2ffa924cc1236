// The pages about the configuration name the keys that there are, with their defaults.
#include "agent/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <boost/algorithm/string/split.hpp>
#include <boost/algorithm/string/trim.hpp>

#include <fstream>
#include <map>
#include <regex>
#include <sstream>

namespace homeport::agent {
namespace {

/// By "section.key", as TOML.
using Keys = std::map<std::string, std::string>;

/// What a configuration with the required keys only comes to: the defaults.
Keys defaults() {
  static const std::regex line("([a-z_]+) = (.*)"), heading("\\[([a-z_]+)\\]");
  std::istringstream text(
      to_toml(parse_config("host = \"node-1\"\nunderlay.vtep = \"192.0.2.1\"\n", "f").value()));
  Keys keys;
  std::string section;
  for (std::string each; std::getline(text, each);) {
    std::smatch match;
    if (std::regex_match(each, match, heading)) section = std::string(match[1]) + ".";
    if (std::regex_match(each, match, line)) keys[section + std::string(match[1])] = match[2];
  }
  return keys;
}

std::vector<std::string> cells_of(const std::string& row) {
  std::vector<std::string> cells;
  boost::split(cells, row, [](char c) { return c == '|'; });
  for (std::string& cell : cells) {
    boost::trim(cell);
    boost::trim_if(cell, [](char c) { return c == '`'; });
  }
  return cells;
}

TEST(ConfigPages, TheReferenceHasEveryKeyAndItsDefault) {
  std::ifstream page(HOMEPORT_SOURCE_DIR "/docs/configuration.md");
  static const std::regex heading("## `\\[([a-z_]+)\\]`.*");
  Keys described;
  std::string section;
  std::size_t column = 0;
  for (std::string line; std::getline(page, line);) {
    std::smatch match;
    if (std::regex_match(line, match, heading)) section = std::string(match[1]) + ".";
    if (!line.starts_with("| ")) continue;
    const auto cells = cells_of(line);
    if (cells.at(1) == "key") {
      column = static_cast<std::size_t>(std::ranges::find(cells, "default") - cells.begin());
    } else if (!described.emplace(section + cells.at(1), cells.at(column)).second) {
      ADD_FAILURE() << section << cells.at(1) << " is there twice";
    }
  }
  Keys expected = defaults();
  expected["host"] = expected["underlay.vtep"] = "required";
  EXPECT_EQ(std::exchange(expected["listen.control"], "the VTEP, port 6710"),
            "[\"192.0.2.1:6710\"]");
  EXPECT_EQ(std::exchange(expected["listen.lanes"], "the VTEP, port 6711"), "[\"192.0.2.1:6711\"]");
  EXPECT_EQ(described, expected);
}

TEST(ConfigPages, TheExampleHasEveryKeyAndItsDefault) {
  constexpr const char* kExample = HOMEPORT_SOURCE_DIR "/deploy/homeportd.toml";
  auto config = load_config(kExample);
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->host, "node-1");
  EXPECT_EQ(config->underlay.vtep, boost::asio::ip::make_address("192.0.2.1"));

  std::ifstream example(kExample);
  static const std::regex key("#?([a-z_]+) = (.*)"), heading("\\[([a-z_]+)\\]");
  Keys shown;
  std::string section;
  for (std::string line; std::getline(example, line);) {
    std::smatch match;
    if (std::regex_match(line, match, heading)) section = std::string(match[1]) + ".";
    if (!std::regex_match(line, match, key)) continue;
    // What is commented out is the default; what is not is there for the reader to change.
    if (line.starts_with('#')) {
      EXPECT_TRUE(shown.emplace(section + std::string(match[1]), match[2]).second) << line;
    } else {
      shown.try_emplace(section + std::string(match[1]), match[2]);
    }
  }
  EXPECT_EQ(shown, defaults());
}

}  // namespace
}  // namespace homeport::agent
