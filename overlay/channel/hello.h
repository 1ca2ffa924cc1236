// The first message on a channel, in both directions (channel.proto): what it says and what it may
// say. Pure: no I/O.
#pragma once

#include "overlay/channel/channel.h"
#include "overlay/channel/channel.pb.h"
#include "overlay/channel/protocol.h"

#include <string>

namespace homeport::overlay {

/// What is taken before the other side is known to be a host.
inline constexpr FrameLimits kHelloLimits{.header = 4096, .payload = 0};

/// What `host` says, this software's version included.
Hello make_hello(std::string host, Purpose purpose, std::string session);

/// The answer that refuses whoever is at the other end, and says why.
Hello make_refusal(Hello answer, const policy::Error& why);

/// The versions of the protocol that its sender speaks.
ProtocolVersions versions_of(const Hello& hello);

/// Whether a peer whose certificate is for `host` may say this to `own_host`. Errors:
/// protocol_not_supported, permission_denied (it calls itself otherwise), bad_message.
policy::Result<void> check_hello(const Hello& hello, const std::string& host,
                                 const std::string& own_host);

/// The same for what the accepting side answers, which may be a refusal: permission_denied.
policy::Result<void> check_answer(const Hello& answer, const std::string& host,
                                  const std::string& own_host);

}  // namespace homeport::overlay
