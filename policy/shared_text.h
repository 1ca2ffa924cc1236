// A text that many records have in common, such as the name of a network: kept once however many
// there are, and given back with the last of them. As large as a pointer; may be used on any
// thread. To be read as a std::string; to change it is to assign another.
#pragma once

#include <fmt/format.h>
#include <boost/flyweight.hpp>

#include <string>
#include <string_view>

namespace homeport::policy {

class SharedText {
 public:
  SharedText() = default;
  SharedText(const std::string& text) : text_(text) {}  // NOLINT: stands for the text
  SharedText(const char* text) : text_(text) {}         // NOLINT

  const std::string& str() const { return text_.get(); }
  operator const std::string&() const { return str(); }  // NOLINT
  bool empty() const { return str().empty(); }

  friend bool operator==(const SharedText& a, const SharedText& b) { return a.text_ == b.text_; }
  friend bool operator==(const SharedText& a, const std::string& b) { return a.str() == b; }
  friend bool operator==(const SharedText& a, const char* b) { return a.str() == b; }

 private:
  boost::flyweight<std::string> text_;
};

}  // namespace homeport::policy

template <>
struct fmt::formatter<homeport::policy::SharedText> : fmt::formatter<std::string_view> {
  template <class Context>
  auto format(const homeport::policy::SharedText& text, Context& context) const {
    return fmt::formatter<std::string_view>::format(text.str(), context);
  }
};
