#include "agent/tasks/needs.h"

#include "policy/text.h"

#include <fmt/format.h>

#include <charconv>
#include <string>

namespace homeport::agent {

namespace errc = boost::system::errc;
using policy::Result;

namespace {

/// A property that is a positive whole number, into `value`, which stays where there is none.
template <class Number>
Result<void> read_number(const Application& application, const std::string& name, Number most,
                         Number& value) {
  auto found = application.properties.find(name);
  if (found == application.properties.end()) return {};
  const std::string& text = found->second;
  Number read = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), read);
  if (error != std::errc{} || end != text.data() + text.size() || read == 0 || read > most) {
    return policy::make_error(
        errc::invalid_argument,
        fmt::format("application {}: {} is \"{}\", not a whole number from 1 to {}",
                    application.name, name, policy::printable(text), most));
  }
  value = read;
  return {};
}

}  // namespace

Result<Needs> needs_of(const Application& application) {
  Needs needs;
  constexpr std::uint64_t kMost = 64ULL << 20;  // 64 TiB
  auto read = read_number(application, "memory_mib", kMost, needs.memory_mib);
  if (read) read = read_number(application, "vcpus", std::uint32_t{4096}, needs.vcpus);
  if (!read) return read.error();
  return needs;
}

}  // namespace homeport::agent
