#include "agent/control/columns.h"

#include "policy/text.h"

#include <fmt/format.h>
#include <boost/json/serialize.hpp>

namespace homeport::agent {

namespace json = boost::json;

void RowReader::refuse(std::string_view column, std::string_view what) {
  if (error_) return;
  std::string shown;
  if (const auto* value = row_.columns.if_contains(column)) {
    const std::string all = json::serialize(*value);
    shown = policy::printable(all, 117);
    if (shown.size() < all.size()) shown += "...";
  }
  const char* what_follows =
      wrong_ == Wrong::leaves_row_out ? "the row is left out" : "it is left out";
  error_ = policy::make_error(
      boost::system::errc::invalid_argument,
      fmt::format("table {}, row {}, column {}: {} is {}; {} until that is mended", table_,
                  to_string(row_.uuid), column, shown.empty() ? "its value" : shown, what,
                  what_follows));
}

const json::value* RowReader::find(std::string_view column) {
  const auto* value = row_.columns.if_contains(column);
  if (!value) refuse(column, "missing");
  return value;
}

std::vector<const json::value*> RowReader::atoms(std::string_view column) {
  const auto* value = find(column);
  if (!value) return {};
  if (!value->is_array()) return {value};  // A set of one is written as the atom itself.
  const auto& array = value->get_array();
  bool is_set = array.size() == 2 && array[0] == "set" && array[1].is_array();
  if (!is_set) {
    refuse(column, "not a set");
    return {};
  }
  std::vector<const json::value*> found;
  for (const auto& item : array[1].get_array()) found.push_back(&item);
  return found;
}

const json::value* RowReader::atom(std::string_view column) {
  const auto* value = find(column);
  if (!value || !value->is_array()) return value;
  refuse(column, "not a single value");
  return nullptr;
}

const json::value* RowReader::optional_atom(std::string_view column) {
  auto found = atoms(column);
  if (found.size() > 1) refuse(column, "more than one value");
  return found.empty() ? nullptr : found.front();
}

std::vector<std::pair<std::string, const json::value*>> RowReader::pairs(std::string_view column) {
  std::vector<std::pair<std::string, const json::value*>> found;
  const auto* value = find(column);
  if (!value) return found;
  const auto* array = value->if_array();
  if (!array || array->size() != 2 || (*array)[0] != "map" || !(*array)[1].is_array()) {
    refuse(column, "not a map");
    return found;
  }
  for (const auto& entry : (*array)[1].get_array()) {
    const auto* pair = entry.if_array();
    if (!pair || pair->size() != 2 || !(*pair)[0].is_string()) {
      refuse(column, "not a map from strings");
      return found;
    }
    found.emplace_back((*pair)[0].get_string(), &(*pair)[1]);
  }
  return found;
}

std::string RowReader::text(std::string_view column) {
  const auto* value = atom(column);
  if (!value) return {};
  if (value->is_string()) return std::string(value->get_string());
  refuse(column, "not a string");
  return {};
}

std::int64_t RowReader::integer(std::string_view column, std::int64_t lowest,
                                std::int64_t highest) {
  const auto* value = atom(column);
  if (!value) return 0;
  if (!value->is_int64()) {
    refuse(column, "not an integer");
  } else if (value->get_int64() < lowest || value->get_int64() > highest) {
    refuse(column, fmt::format("not between {} and {}", lowest, highest));
  } else {
    return value->get_int64();
  }
  return 0;
}

bool RowReader::boolean(std::string_view column) {
  const auto* value = atom(column);
  if (!value) return false;
  if (value->is_bool()) return value->get_bool();
  refuse(column, "neither true nor false");
  return false;
}

policy::IpAddress RowReader::address(std::string_view column) {
  auto address = policy::parse_address(text(column));
  if (!address) refuse(column, "not an IP address");
  return address.value_or(policy::IpAddress{});
}

Uuid RowReader::uuid(std::string_view column) {
  auto value = parse_uuid(text(column));
  if (!value) refuse(column, "not a UUID");
  return value.value_or(Uuid{});
}

std::optional<std::string> RowReader::optional_text(std::string_view column) {
  const auto* value = optional_atom(column);
  if (!value) return std::nullopt;
  if (value->is_string()) return std::string(value->get_string());
  refuse(column, "not a string");
  return std::nullopt;
}

std::optional<std::int64_t> RowReader::optional_integer(std::string_view column,
                                                        std::int64_t lowest, std::int64_t highest) {
  const auto* value = optional_atom(column);
  if (!value) return std::nullopt;
  if (!value->is_int64()) {
    refuse(column, "not an integer");
  } else if (value->get_int64() < lowest || value->get_int64() > highest) {
    refuse(column, fmt::format("not between {} and {}", lowest, highest));
  } else {
    return value->get_int64();
  }
  return std::nullopt;
}

std::optional<bool> RowReader::optional_boolean(std::string_view column) {
  const auto* value = optional_atom(column);
  if (!value) return std::nullopt;
  if (value->is_bool()) return value->get_bool();
  refuse(column, "neither true nor false");
  return std::nullopt;
}

StringMap RowReader::string_map(std::string_view column) {
  StringMap map;
  for (const auto& [key, value] : pairs(column)) {
    if (value->is_string()) {
      map.emplace(key, value->get_string());
    } else {
      refuse(column, "not a map from strings to strings");
    }
  }
  return map;
}

IntegerMap RowReader::integer_map(std::string_view column) {
  IntegerMap map;
  for (const auto& [key, value] : pairs(column)) {
    if (value->is_int64()) {
      map.emplace(key, value->get_int64());
    } else {
      refuse(column, "not a map from strings to integers");
    }
  }
  return map;
}

}  // namespace homeport::agent
