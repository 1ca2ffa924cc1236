#include "policy/path/end_text.h"

#include "policy/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace homeport::policy {
namespace {

constexpr std::string_view kAny = "*";
constexpr std::string_view kLabel = "label:";
constexpr std::size_t kMostShown = 140;  // of a text that is wrong: a good one is no longer

template <class... Args>
Error wrong(std::string_view text, fmt::format_string<Args...> format, Args&&... args) {
  return make_error(boost::system::errc::invalid_argument,
                    fmt::format("\"{}\" {}", printable(text, kMostShown),
                                fmt::format(format, std::forward<Args>(args)...)));
}

/// As a host's certificate has it.
bool is_host_name(std::string_view text) {
  return !text.empty() && text.size() <= 63 && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
  });
}

/// Nothing that a terminal would obey, nor what sets it apart from what follows.
bool is_word(std::string_view text) {
  return !text.empty() && text.find(' ') == text.npos && printable(text, text.size()) == text;
}

/// What the kernel takes for one (dev_valid_name()).
bool is_interface_name(std::string_view text) {
  return is_word(text) && text.size() <= 15 && text.find_first_of("/:") == text.npos;
}

}  // namespace

bool is_label(std::string_view text) {
  return is_word(text) && text.size() <= 63;
}

Result<EndMatch> parse_end(std::string_view text) {
  const std::size_t slash = text.find('/');
  if (slash == text.npos) {
    return wrong(text,
                 "is no end of a path: write HOST/INTERFACE or HOST/label:NAME, with * for any "
                 "host or any interface");
  }
  const std::string_view host = text.substr(0, slash);
  const std::string_view at_host = text.substr(slash + 1);
  EndMatch end;
  if (host != kAny) {
    if (!is_host_name(host)) {
      return wrong(text,
                   "is no end of a path: before the slash stands a host's name, 1 to 63 letters, "
                   "digits, '.', '_' and '-', or *");
    }
    end.host = host;
  }
  if (at_host == kAny) return end;
  if (at_host.starts_with(kLabel)) {
    end.label = at_host.substr(kLabel.size());
    if (!is_label(end.label)) {
      return wrong(text,
                   "is no end of a path: after \"label:\" stands a label, 1 to 63 bytes without "
                   "a space");
    }
    return end;
  }
  if (!is_interface_name(at_host)) {
    return wrong(text,
                 "is no end of a path: after the slash stands an interface's name, 1 to 15 bytes "
                 "without slash, colon and space, or label:NAME, or *");
  }
  end.interface = at_host;
  return end;
}

Result<PairMatch> parse_pair(std::string_view text) {
  const std::size_t space = text.find(' ');
  if (space == text.npos) {
    return wrong(text, "is no pair of ends: write two, each HOST/INTERFACE, with a space between");
  }
  auto one = parse_end(text.substr(0, space));
  if (!one) return one.error();
  auto other = parse_end(text.substr(space + 1));
  if (!other) return other.error();
  return PairMatch{*std::move(one), *std::move(other)};
}

std::string to_string(const EndMatch& end) {
  std::string text(end.host.empty() ? kAny : std::string_view(end.host));
  text += '/';
  if (!end.label.empty()) return text.append(kLabel).append(end.label);
  return text.append(end.interface.empty() ? kAny : std::string_view(end.interface));
}

std::string to_string(const PairMatch& pair) {
  return to_string(pair.one) + " " + to_string(pair.other);
}

bool may_be_at(const EndMatch& end, std::string_view host) {
  return end.host.empty() || end.host == host;
}

bool may_be_between(const PairMatch& pair, std::string_view host, std::string_view peer) {
  return (may_be_at(pair.one, host) && may_be_at(pair.other, peer)) ||
         (may_be_at(pair.one, peer) && may_be_at(pair.other, host));
}

}  // namespace homeport::policy
