// A line of the log before it is written.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

namespace homeport::overlay::log {

enum class Level { trace, debug, info, warn, error };
inline constexpr std::array kLevels{Level::trace, Level::debug, Level::info, Level::warn,
                                    Level::error};
std::string_view to_string(Level level);  ///< as the configuration writes it
/// Error: `info`, for a word that is none.
Level level_from(std::string_view word);

/// Keys are words of ours; values may be anybody's.
struct Field {
  std::string key;
  std::string value;
  bool operator==(const Field&) const = default;
};

/// What a line is about.
class About {
 public:
  About() = default;
  About(std::initializer_list<Field> fields) : fields_(fields) {}

  About with(Field field) const;
  const std::vector<Field>& fields() const { return fields_; }
  std::string_view task() const;  ///< empty if it is about none

 private:
  std::vector<Field> fields_;
};

/// Where in the code it is written.
struct Place {
  const char* file = "";
  std::uint32_t line = 0;
};

struct Line {
  Level level = Level::info;
  Place place;
  About about;
  std::string text;
};

/// A sentence with its fields: text key=value key="value with spaces".
std::string render_text(const Line& line);
/// Members of a JSON object, "message" first, without its braces.
std::string render_json(const Line& line);

}  // namespace homeport::overlay::log
