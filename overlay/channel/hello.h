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

/// Whether a server of `served` is what the sender of this hello is looking for: bad_message.
policy::Result<void> check_purpose(const Hello& hello, Purpose served);

/// Whether a peer whose certificate is for `host` may answer this to what was `asked`. Errors: as
/// check_hello(), bad_message for another purpose or session than asked for, permission_denied for
/// a refusal.
policy::Result<void> check_answer(const Hello& answer, const Hello& asked, const std::string& host);

}  // namespace homeport::overlay
