// Who this host is and whom it trusts, ready for use by channels.
#pragma once

#include "policy/error.h"

#include <openssl/types.h>

#include <filesystem>
#include <memory>
#include <string>

namespace homeport::overlay {

/// PEM files. The common name (CN) of the certificate is the host's name in the control database.
struct TlsIdentity {
  std::filesystem::path ca_certificate;  ///< one or more CA certificates, all trusted
  std::filesystem::path certificate;     ///< this host's, followed by intermediates if any
  std::filesystem::path private_key;     ///< not readable by group or others
};

/// An immutable TLS configuration made from an identity: TLS 1.3 only (RFC 8446), certificates
/// required of both sides and checked against the CA, AES-GCM preferred. Copies share it, and may
/// be used from any thread. Files that change later make no difference to it.
class TlsContext {
 public:
  /// Errors name the file and what to do: a file that cannot be read or is not PEM, a private key
  /// that others may read (permission_denied), a key of another certificate, a certificate that
  /// this CA has not signed or whose CN is not a host name. Dates are not checked here: the
  /// peer does that, at each connection.
  static policy::Result<TlsContext> load(const TlsIdentity& identity);

  const std::string& host() const;                ///< CN of the own certificate
  const std::string& certificate_sha256() const;  ///< its fingerprint, see pki.h
  SSL_CTX* native() const;

 private:
  struct Data;
  explicit TlsContext(std::shared_ptr<const Data> data) : data_(std::move(data)) {}
  std::shared_ptr<const Data> data_;
};

}  // namespace homeport::overlay
