#include "overlay/channel/signed_statement.h"

#include "overlay/channel/openssl.h"
#include "overlay/channel/pki.h"

#include <openssl/err.h>

#include <fmt/format.h>

#include <memory>
#include <utility>

namespace homeport::overlay {
namespace {

using boost::system::errc::invalid_argument;
using DigestPtr = std::unique_ptr<EVP_MD_CTX, Deleter<EVP_MD_CTX_free>>;

/// What the signature is over. A purpose has no zero byte.
std::string signed_bytes(std::string_view purpose, std::string_view statement) {
  std::string bytes = "homeport ";
  bytes.append(purpose).push_back('\0');
  return bytes.append(statement);
}

const unsigned char* unsigned_bytes(const std::string& bytes) {
  return reinterpret_cast<const unsigned char*>(bytes.data());
}

unsigned char* unsigned_bytes(std::string& bytes) {
  return reinterpret_cast<unsigned char*>(bytes.data());
}

policy::Error failure(const std::string& what) {
  return policy::make_error(invalid_argument, fmt::format("{}: {}", what, openssl::last_error()));
}

}  // namespace

policy::Result<SignedStatement> sign(const TlsContext& tls, std::string_view purpose,
                                     std::string statement) {
  SignedStatement made{std::move(statement), {}, {}};
  X509* certificate = SSL_CTX_get0_certificate(tls.native());
  EVP_PKEY* key = SSL_CTX_get0_privatekey(tls.native());
  const int length = i2d_X509(certificate, nullptr);
  if (length <= 0) return failure("cannot encode the own certificate");
  made.certificate.resize(static_cast<std::size_t>(length));
  unsigned char* at = unsigned_bytes(made.certificate);
  i2d_X509(certificate, &at);

  const std::string bytes = signed_bytes(purpose, made.statement);
  DigestPtr digest(EVP_MD_CTX_new());
  std::size_t size = 0;
  if (!digest ||
      EVP_DigestSignInit_ex(digest.get(), nullptr, nullptr, nullptr, nullptr, key, nullptr) != 1 ||
      EVP_DigestSign(digest.get(), nullptr, &size, unsigned_bytes(bytes), bytes.size()) != 1) {
    return failure("cannot sign with the own key");
  }
  made.signature.resize(size);
  if (EVP_DigestSign(digest.get(), unsigned_bytes(made.signature), &size, unsigned_bytes(bytes),
                     bytes.size()) != 1) {
    return failure("cannot sign with the own key");
  }
  made.signature.resize(size);
  return made;
}

policy::Result<std::string> signer_of(const SignedStatement& statement, std::string_view purpose) {
  if (statement.certificate.size() > kLongestCertificate ||
      statement.signature.size() > kLongestSignature) {
    return policy::make_error(invalid_argument, "its certificate or signature is too long");
  }
  ERR_clear_error();
  const unsigned char* at = unsigned_bytes(statement.certificate);
  openssl::CertificatePtr certificate(
      d2i_X509(nullptr, &at, static_cast<long>(statement.certificate.size())));
  if (!certificate) return failure("its certificate is none");
  const std::string bytes = signed_bytes(purpose, statement.statement);
  DigestPtr digest(EVP_MD_CTX_new());
  EVP_PKEY* key = X509_get0_pubkey(certificate.get());
  if (!digest || key == nullptr ||
      EVP_DigestVerifyInit_ex(digest.get(), nullptr, nullptr, nullptr, nullptr, key, nullptr) !=
          1) {
    return failure("its certificate has no key that signs");
  }
  if (EVP_DigestVerify(digest.get(), unsigned_bytes(statement.signature),
                       statement.signature.size(), unsigned_bytes(bytes), bytes.size()) != 1) {
    ERR_clear_error();
    return policy::make_error(invalid_argument, "its signature is not of the key it names");
  }
  return pki::fingerprint(*certificate);
}

}  // namespace homeport::overlay
