// What a host says, signed with the key of its certificate, so that another host can pass it on.
#pragma once

#include "overlay/channel/tls.h"
#include "policy/error.h"

#include <cstddef>
#include <string>
#include <string_view>

namespace homeport::overlay {

struct SignedStatement {
  std::string statement;
  std::string signature;    ///< by the default digest of the key: SHA-256 for EC and RSA
  std::string certificate;  ///< X.509, DER: of the key
};

/// No certificate or signature that is longer is looked at.
inline constexpr std::size_t kLongestCertificate = 8192;
inline constexpr std::size_t kLongestSignature = 1024;

/// Signs `statement` as this host. `purpose` is signed with it, so that what was said for one
/// purpose means nothing for another.
policy::Result<SignedStatement> sign(const TlsContext& tls, std::string_view purpose,
                                     std::string statement);

/// The fingerprint (pki.h) of the certificate whose key has signed it for `purpose`. Whose
/// certificate that is, and whether it is trusted, is for the caller to say: the control database
/// notes the fingerprint of each host's. `invalid_argument` where the signature is another's.
policy::Result<std::string> signer_of(const SignedStatement& statement, std::string_view purpose);

}  // namespace homeport::overlay
