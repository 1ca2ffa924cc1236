// Values of OVSDB columns (RFC 7047, section 5.1: <atom>, <set>, <map>) to and from C++ values.
#pragma once

#include "agent/control/records.h"

#include <boost/json/array.hpp>
#include <boost/json/value.hpp>

#include <chrono>
#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace homeport::agent {

/// Reads the columns of a row. The first thing that is wrong is kept as error(), named by table,
/// row and column; what is read after that, and a column that is wrong, has its default.
class RowReader {
 public:
  /// What becomes of what is wrong, for the sentence that says so.
  enum class Wrong { leaves_row_out, is_left_out };

  RowReader(std::string_view table, const Row& row, Wrong wrong = Wrong::leaves_row_out)
      : table_(table), row_(row), wrong_(wrong) {}

  const std::optional<policy::Error>& error() const { return error_; }
  void refuse(std::string_view column, std::string_view what);

  /// False for one that the database's schema is too old for; anything else refuses it.
  bool has(std::string_view column) const { return row_.columns.contains(column); }

  std::string text(std::string_view column);
  std::int64_t integer(std::string_view column, std::int64_t lowest = 0,
                       std::int64_t highest = std::numeric_limits<std::int64_t>::max());
  bool boolean(std::string_view column);
  /// Times and durations are bounded so that they can be had in nanoseconds: to the year 2262.
  WallTime time(std::string_view column) {
    return WallTime(
        std::chrono::milliseconds(integer(column, 0, most<std::chrono::milliseconds>())));
  }
  policy::IpAddress address(std::string_view column);
  Uuid uuid(std::string_view column);

  // Columns of at most one value.
  std::optional<std::string> optional_text(std::string_view column);
  std::optional<std::int64_t> optional_integer(
      std::string_view column, std::int64_t lowest = 0,
      std::int64_t highest = std::numeric_limits<std::int64_t>::max());
  std::optional<bool> optional_boolean(std::string_view column);
  template <class Duration>
  std::optional<Duration> optional_duration(std::string_view column) {
    auto count = optional_integer(column, 0, most<Duration>());
    return count ? std::optional<Duration>(Duration(*count)) : std::nullopt;
  }
  std::optional<WallTime> optional_time(std::string_view column) {
    auto since_epoch = optional_duration<std::chrono::milliseconds>(column);
    return since_epoch ? std::optional(WallTime(*since_epoch)) : std::nullopt;
  }

  StringMap string_map(std::string_view column);
  IntegerMap integer_map(std::string_view column);

  /// A set of strings, each through `parse`, which returns nullopt for what is not `what`.
  template <class T>
  std::vector<T> set(std::string_view column, std::string_view what,
                     const std::function<std::optional<T>(std::string_view)>& parse) {
    std::vector<T> values;
    for (const auto* atom : atoms(column)) {
      auto value = atom->is_string() ? parse(atom->get_string()) : std::nullopt;
      if (value) {
        values.push_back(*std::move(value));
      } else {
        refuse(column, what);
      }
    }
    return values;
  }
  /// A string of a fixed list, through `parse`.
  template <class T>
  T one_of(std::string_view column,
           const std::function<std::optional<T>(std::string_view)>& parse) {
    auto value = parse(text(column));
    if (!value) refuse(column, "none of the values it may have");
    return value.value_or(T{});
  }
  template <class T>
  std::optional<T> optional_one_of(std::string_view column,
                                   const std::function<std::optional<T>(std::string_view)>& parse) {
    auto name = optional_text(column);
    if (!name) return std::nullopt;
    auto value = parse(*name);
    if (!value) refuse(column, "none of the values it may have");
    return value;
  }

 private:
  template <class Duration>
  static constexpr std::int64_t most() {
    return std::chrono::duration_cast<Duration>(std::chrono::nanoseconds::max()).count();
  }
  const boost::json::value* find(std::string_view column);
  /// The one value, or nullptr with the error kept.
  const boost::json::value* atom(std::string_view column);
  const boost::json::value* optional_atom(std::string_view column);
  std::vector<const boost::json::value*> atoms(std::string_view column);
  std::vector<std::pair<std::string, const boost::json::value*>> pairs(std::string_view column);

  std::string_view table_;
  const Row& row_;
  Wrong wrong_;
  std::optional<policy::Error> error_;
};

/// ["set", [...]]
template <class Range, class ToAtom>
boost::json::value make_set(const Range& range, ToAtom to_atom) {
  boost::json::array atoms;
  for (const auto& item : range) atoms.push_back(boost::json::value(to_atom(item)));
  return boost::json::array{"set", std::move(atoms)};
}

/// ["set", []] or ["set", [value]]
template <class T, class ToAtom>
boost::json::value make_optional(const std::optional<T>& item, ToAtom to_atom) {
  boost::json::array atoms;
  if (item) atoms.push_back(boost::json::value(to_atom(*item)));
  return boost::json::array{"set", std::move(atoms)};
}

/// ["map", [[key, value], ...]]
template <class Map>
boost::json::value make_map(const Map& map) {
  boost::json::array entries;
  for (const auto& [key, value] : map) entries.push_back(boost::json::array{key, value});
  return boost::json::array{"map", std::move(entries)};
}

}  // namespace homeport::agent
