// The Prometheus text exposition format, version 0.0.4, as it is written here.
#pragma once

#include <fmt/format.h>

#include <initializer_list>
#include <iterator>
#include <string>
#include <string_view>
#include <utility>

namespace homeport::agent {

using MetricLabels = std::initializer_list<std::pair<std::string_view, std::string_view>>;

/// Writes metric families one after the other, in the exposition format's order: HELP, TYPE,
/// samples.
class Exposition {
 public:
  void family(std::string_view name, std::string_view type, std::string_view help) {
    name_ = name;
    fmt::format_to(std::back_inserter(text_), "# HELP {0} {2}\n# TYPE {0} {1}\n", name, type, help);
  }

  template <class Number>
  void sample(MetricLabels labels, Number value, std::string_view suffix = "") {
    text_ += name_;
    text_ += suffix;
    char separator = '{';
    for (const auto& [label, content] : labels) {
      text_ += separator;
      text_ += label;
      text_ += "=\"";
      escape(content);
      text_ += '"';
      separator = ',';
    }
    if (labels.size() != 0) text_ += '}';
    fmt::format_to(std::back_inserter(text_), " {}\n", value);
  }

  /// A family with one sample and no labels.
  template <class Number>
  void single(std::string_view name, std::string_view type, std::string_view help, Number value) {
    family(name, type, help);
    sample({}, value);
  }

  std::string take() { return std::move(text_); }

 private:
  void escape(std::string_view content) {
    for (char c : content) {
      if (c == '\n') {
        text_ += "\\n";
        continue;
      }
      if (c == '\\' || c == '"') text_ += '\\';
      text_ += c;
    }
  }

  std::string text_;
  std::string name_;
};

}  // namespace homeport::agent
