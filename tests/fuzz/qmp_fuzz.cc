// What QEMU says on its monitor. Input: one byte, where the stream is cut in two, and the stream.
#include "migration/vm/qmp_message.h"
#include "policy/text.h"
#include "tests/fuzz/fuzz.h"

#include <algorithm>
#include <vector>

namespace homeport::migration {
namespace {

using fuzz::require;

void drain(QmpLines& lines, std::vector<std::string>& into) {
  while (true) {
    auto line = lines.next();
    if (!line || !*line) return;
    into.push_back(**line);
  }
}

void take(const std::string& line) {
  require(!line.empty() && line.size() <= kQmpMaxLine, "a line is within its bounds");
  require(line.find('\n') == std::string::npos, "a line is one");
  auto message = parse_qmp_message(line);
  if (!message) {
    require(message.error().code == boost::system::errc::bad_message, "it is not QMP");
    const std::string& told = message.error().message;
    require(told.size() < 1000, "an error does not repeat all of it");
    require(told == policy::printable(told), "an error can be logged");
    return;
  }
  if (const auto* event = std::get_if<QmpEvent>(&*message)) {
    require(!event->name.empty(), "an event has a name");
  } else if (const auto* failure = std::get_if<QmpFailure>(&*message)) {
    require(!failure->description.empty(), "a failure says why");
  }
}

}  // namespace
}  // namespace homeport::migration

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace homeport;
  using namespace homeport::migration;
  if (size == 0) return 0;
  const std::string_view stream = fuzz::as_text(data + 1, size - 1);
  const std::size_t cut = std::min<std::size_t>(data[0], stream.size());

  QmpLines whole, halves;
  std::vector<std::string> at_once, in_two;
  whole.add(stream);
  drain(whole, at_once);
  halves.add(stream.substr(0, cut));
  drain(halves, in_two);
  halves.add(stream.substr(cut));
  drain(halves, in_two);
  fuzz::require(at_once == in_two, "lines are the same however they arrive");
  for (const std::string& line : at_once) take(line);
  return 0;
}
