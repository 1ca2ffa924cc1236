#include "overlay/channel/hello.h"

#include "policy/text.h"
#include "policy/version.h"

#include <fmt/format.h>

#include <utility>

namespace homeport::overlay {

namespace errc = boost::system::errc;
using policy::printable;
using policy::Result;

namespace {

std::string spoken(const ProtocolVersions& versions) {
  if (versions.oldest == versions.newest) return fmt::format("version {}", versions.newest);
  return fmt::format("versions {} to {}", versions.oldest, versions.newest);
}

ChannelPurpose in_hello(Purpose purpose) {
  return purpose == Purpose::lane ? CHANNEL_PURPOSE_LANE : CHANNEL_PURPOSE_CONTROL;
}

const char* channels_of(ChannelPurpose purpose) {
  return purpose == CHANNEL_PURPOSE_LANE ? "lanes" : "control channels";
}

}  // namespace

ProtocolVersions versions_of(const Hello& hello) {
  const std::uint32_t newest = hello.protocol_version();
  const std::uint32_t oldest = hello.oldest_protocol_version();
  return {oldest == 0 ? newest : oldest, newest};
}

Hello make_hello(std::string host, Purpose purpose, std::string session) {
  Hello hello;
  hello.set_protocol_version(kProtocol.newest);
  hello.set_oldest_protocol_version(kProtocol.oldest);
  hello.set_host(std::move(host));
  hello.set_software_version(std::string(policy::kVersion));
  hello.set_purpose(in_hello(purpose));
  hello.set_session(std::move(session));
  return hello;
}

Hello make_refusal(Hello answer, const policy::Error& why) {
  // Whole characters only: a string that is not UTF-8 would make the hello unreadable.
  answer.set_refusal(printable(why.message));
  return answer;
}

Result<void> check_hello(const Hello& hello, const std::string& host, const std::string& own_host) {
  if (!agreed_version(versions_of(hello), kProtocol)) {
    return policy::make_error(
        errc::protocol_not_supported,
        fmt::format("{} speaks {} of the channel protocol (software {}), {} speaks {} (software "
                    "{}): upgrade one of them",
                    host, spoken(versions_of(hello)), printable(hello.software_version(), 64),
                    own_host, spoken(kProtocol), policy::kVersion));
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

Result<void> check_purpose(const Hello& hello, Purpose served) {
  if (hello.purpose() == in_hello(served)) return {};
  return policy::make_error(
      errc::bad_message,
      fmt::format("this address takes {} only, not {}: check the endpoints in the control database",
                  channels_of(in_hello(served)), channels_of(hello.purpose())));
}

Result<void> check_answer(const Hello& answer, const Hello& asked, const std::string& host) {
  if (answer.refusal().empty()) {
    if (auto good = check_hello(answer, host, asked.host()); !good) return good;
    if (answer.purpose() == asked.purpose() && answer.session() == asked.session()) return {};
    return policy::make_error(errc::bad_message,
                              fmt::format("it answers for another purpose or session than asked "
                                          "for ({} in session '{}')",
                                          channels_of(asked.purpose()), asked.session()));
  }
  auto code = agreed_version(versions_of(answer), kProtocol) ? errc::permission_denied
                                                             : errc::protocol_not_supported;
  return policy::make_error(code,
                            fmt::format("it refuses this host: {}", printable(answer.refusal())));
}

}  // namespace homeport::overlay
