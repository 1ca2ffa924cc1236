// The largest packet that arrives, by asks of different sizes (compare RFC 8899, section 4.4).
//
// The largest that the interfaces carry is asked first. If it does not arrive, it is halved between
// what arrives and what does not. That a size is not answered is believed after the third time: it
// may have been lost.
#pragma once

#include <cstdint>
#include <optional>

namespace homeport::overlay {

class MtuSearch {
 public:
  /// `most`: bytes of the largest IP packet; `least`: of the smallest that is of any use.
  void begin(std::uint32_t most, std::uint32_t least);
  bool running() const { return size_ != 0; }
  /// What to ask next, in bytes of the IP packet.
  std::uint32_t size() const { return size_; }

  void arrived();
  void unanswered();
  /// It cannot even be sent.
  void too_big();
  /// What was found, once it does not run any more; nullopt: nothing has arrived.
  std::optional<std::uint32_t> found() const;

 private:
  void next();

  std::uint32_t arrives_ = 0;  // the largest
  std::uint32_t least_ = 0;    // assumed to arrive
  std::uint32_t lost_ = 0;     // the smallest
  std::uint32_t size_ = 0;     // 0: it does not run
  unsigned tries_ = 0;
};

}  // namespace homeport::overlay
