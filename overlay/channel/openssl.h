// Ownership and errors of OpenSSL objects, for the sources of this folder.
#pragma once

#include "overlay/deleter.h"
#include "policy/error.h"

#include <openssl/bn.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace homeport::overlay::openssl {

using NumberPtr = std::unique_ptr<BIGNUM, Deleter<BN_free>>;
using KeyPtr = std::unique_ptr<EVP_PKEY, Deleter<EVP_PKEY_free>>;
using CertificatePtr = std::unique_ptr<X509, Deleter<X509_free>>;
using ContextPtr = std::unique_ptr<SSL_CTX, Deleter<SSL_CTX_free>>;
using SslPtr = std::unique_ptr<SSL, Deleter<SSL_free>>;

/// What OpenSSL says went wrong last in this thread, in its own words; clears its queue.
std::string last_error();

/// All certificates of a PEM file, at least one. `what` names the file's role in the error.
policy::Result<std::vector<CertificatePtr>> read_certificates(const std::filesystem::path& file,
                                                              const std::string& what);

/// The private key of a PEM file without pass phrase; permission_denied if group or others have
/// any right to the file.
policy::Result<KeyPtr> read_private_key(const std::filesystem::path& file);

}  // namespace homeport::overlay::openssl
