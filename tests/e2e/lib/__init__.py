"""What the end-to-end tests share: checks, processes, trees and the pinned clients."""
