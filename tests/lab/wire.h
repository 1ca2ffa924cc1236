// Frames that get lost on a link.
#pragma once

#include <memory>
#include <string>

#include "tests/lab/namespace.h"

namespace homeport::lab {

/// Percent of the frames in each direction that the wire drops. A frame is what crosses it at once:
/// with segmentation offload a TCP segment of up to 64 KiB.
struct Loss {
  unsigned from_member = 0;
  unsigned to_member = 0;
};

/// Lives on the switch's end of a link, for as long as the object.
class LossyWire {
 public:
  LossyWire(const Namespace& inside, const std::string& device);
  ~LossyWire();
  LossyWire(const LossyWire&) = delete;
  LossyWire& operator=(const LossyWire&) = delete;

  void set(Loss loss);

 private:
  struct Programs;
  std::unique_ptr<Programs> programs_;
};

}  // namespace homeport::lab
