// What commands print: aligned tables, amounts a person can read, and names that were meant.
// Pure: everything is returned.
#pragma once

#include <boost/json/array.hpp>

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace homeport::agent {

/// All of `text`, without what a terminal would obey: what other hosts have written is shown.
std::string for_terminal(std::string_view text);

/// Rows of text under a heading, in columns as wide as their widest cell, two spaces apart. An
/// empty cell is shown as "-". Nothing is cut off; cells are made fit for a terminal.
class Table {
 public:
  struct Column {
    std::string heading;
    bool number = false;  ///< Aligned to the right.
  };

  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}
  /// One cell per column.
  void add(std::vector<std::string> cells);
  /// With a newline after each line; just the heading when there are no rows.
  std::string to_string() const;

 private:
  std::vector<Column> columns_;
  std::vector<std::vector<std::string>> rows_;
};

/// "512.0 MiB", "17 B": binary multiples (IEC 80000-13).
std::string format_bytes(std::uint64_t bytes);
/// "143 ms", "12.3 s", "2 min 05 s", "3 h 07 min".
std::string format_duration(std::chrono::milliseconds duration);

/// "1 round", "3 rounds".
std::string counted(std::uint64_t count, std::string_view noun);

/// `There is no host "hostX"; did you mean hostA? Known: hostA, hostB.`
std::string unknown_name(std::string_view what, std::string_view name,
                         const std::vector<std::string>& known);

/// The texts with `separator` between them.
std::string join(const std::vector<std::string>& texts, std::string_view separator);

/// What each of `values` is as a text: addresses, subnets.
template <class Value>
std::vector<std::string> texts(const std::vector<Value>& values) {
  std::vector<std::string> result;
  for (const Value& value : values) result.push_back(value.to_string());
  return result;
}

boost::json::array json_array(const std::vector<std::string>& texts);

/// What a command that has removed `name` says; `described` is it for a person: "network net1".
std::string removed_text(bool as_json, const std::string& name, std::string_view described);

}  // namespace homeport::agent
