// Ownership of what C libraries make.
#pragma once

namespace homeport::overlay {

/// For std::unique_ptr: ends an object with the library's own function.
template <auto Free>
struct Deleter {
  template <class T>
  void operator()(T* object) const {
    Free(object);
  }
};

}  // namespace homeport::overlay
