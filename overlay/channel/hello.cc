#include "overlay/channel/hello.h"

#include "policy/text.h"

#include <fmt/format.h>

#include <utility>

namespace homeport::overlay {

namespace errc = boost::system::errc;
using policy::printable;
using policy::Result;

Hello make_hello(std::string host, Purpose purpose, std::string session) {
  Hello hello;
  hello.set_protocol_version(kChannelProtocolVersion);
  hello.set_host(std::move(host));
  hello.set_software_version(HOMEPORT_VERSION);
  hello.set_purpose(purpose == Purpose::lane ? CHANNEL_PURPOSE_LANE : CHANNEL_PURPOSE_CONTROL);
  hello.set_session(std::move(session));
  return hello;
}

Hello make_refusal(Hello answer, const policy::Error& why) {
  // Whole characters only: a string that is not UTF-8 would make the hello unreadable.
  answer.set_refusal(printable(why.message));
  return answer;
}

Result<void> check_hello(const Hello& hello, const std::string& host) {
  if (hello.protocol_version() != kChannelProtocolVersion) {
    return policy::make_error(
        errc::protocol_not_supported,
        fmt::format("it speaks version {} of the channel protocol, this host version {} "
                    "(software {}): run the same version on both",
                    hello.protocol_version(), kChannelProtocolVersion, HOMEPORT_VERSION));
  }
  if (hello.host() != host) {
    return policy::make_error(errc::permission_denied,
                              fmt::format("it calls itself '{}', but its certificate is for '{}'",
                                          printable(hello.host()), host));
  }
  if (hello.purpose() != CHANNEL_PURPOSE_CONTROL && hello.purpose() != CHANNEL_PURPOSE_LANE) {
    return policy::make_error(
        errc::bad_message,
        fmt::format("its hello names the unknown purpose {}", static_cast<int>(hello.purpose())));
  }
  if (hello.session().size() > kMaxSessionSize) {
    return policy::make_error(errc::bad_message,
                              fmt::format("its hello names a session of {} bytes, over {}",
                                          hello.session().size(), kMaxSessionSize));
  }
  return {};
}

Result<void> check_answer(const Hello& answer, const std::string& host) {
  if (answer.refusal().empty()) return check_hello(answer, host);
  auto code = answer.protocol_version() == kChannelProtocolVersion ? errc::permission_denied
                                                                   : errc::protocol_not_supported;
  return policy::make_error(code,
                            fmt::format("it refuses this host: {}", printable(answer.refusal())));
}

}  // namespace homeport::overlay
